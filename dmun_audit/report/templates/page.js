(function () {
  "use strict";
  var bar = document.getElementById("filter");
  var cases = Array.prototype.slice.call(document.querySelectorAll("details.case"));
  var parts = Array.prototype.slice.call(document.querySelectorAll(".part"));

  // Choose and order cases.

  var search = document.getElementById("search"), order = document.getElementById("order"), shown = document.getElementById("shown");
  var wanted = { verdict: "" };
  var texts = new Map();

  function textOf(item) {
    if (!texts.has(item)) {
      texts.set(item, (item.querySelector("summary").textContent + " " + (item.dataset.words || "")).toLowerCase());
    }
    return texts.get(item);
  }
  function matches(item, words) {
    return Object.keys(wanted).every(function (field) { return !wanted[field] || item.dataset[field] === wanted[field]; }) &&
      words.every(function (word) { return textOf(item).includes(word); });
  }
  function choose() {
    var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), count = 0;
    cases.forEach(function (item) {
      item.hidden = !matches(item, words);
      count += item.hidden ? 0 : 1;
    });
    parts.forEach(function (part) { part.hidden = !part.querySelector("details.case:not([hidden])"); });
    bar.querySelectorAll("[data-verdict]").forEach(function (button) {
      button.setAttribute("aria-pressed", String(button.dataset.verdict === wanted.verdict));
    });
    shown.textContent = count === cases.length ? "" : count + " of " + cases.length + " cases";
  }
  function showAll() {
    wanted = { verdict: "" };
    search.value = "";
    bar.querySelectorAll("select").forEach(function (select) { select.selectedIndex = 0; });
    arrange();
    choose();
  }
  function arrange() {
    var field = order.value;
    parts.forEach(function (part) {
      Array.prototype.slice.call(part.querySelectorAll("details.case"))
        .sort(function (one, other) { return one.dataset[field] - other.dataset[field]; })
        .forEach(function (item) { part.appendChild(item); });
    });
  }
  if (bar) {
    bar.hidden = false;
    cases.forEach(function (item, place) { item.dataset.place = place; });
    bar.addEventListener("click", function (event) {
      var button = event.target.closest("button");
      if (!button) return;
      wanted.verdict = button.dataset.verdict;
      choose();
    });
    bar.addEventListener("change", function (event) {
      if (event.target === order) arrange();
      if (event.target.dataset.field) wanted[event.target.dataset.field] = event.target.value;
      choose();
    });
    search.addEventListener("input", choose);
  }

  // Large pictures, with a slider between base and candidate.

  var viewer = document.getElementById("viewer"), figures = [], at = 0;
  function picture(figure, isBase) {
    return Array.prototype.slice.call(figure.querySelectorAll(".side")).find(function (side) {
      return (side.dataset.model === "base") === isBase && side.querySelector("img");
    });
  }
  function words(side) {
    var said = side && side.querySelector("p");
    return said ? said.innerText.replace(/\n/g, " · ") : "";
  }
  function slide() {
    var share = viewer.querySelector("input").value, above = viewer.querySelector(".above"), divider = viewer.querySelector(".divider");
    if (above) above.style.clipPath = "inset(0 0 0 " + share + "%)";
    divider.style.left = share + "%";
  }
  function put(name, side) {
    var stage = viewer.querySelector(".stage"), old = stage.querySelector("." + name);
    if (old) old.remove();
    if (!side) return;
    var image = side.querySelector("img").cloneNode();
    image.className = name;
    image.removeAttribute("role");
    image.removeAttribute("tabindex");
    stage.insertBefore(image, stage.querySelector(".divider"));
  }
  function show(place) {
    at = (place + figures.length) % figures.length;
    var figure = figures[at], base = picture(figure, true), candidate = picture(figure, false), both = Boolean(base && candidate);
    var seed = figure.dataset.seed ? " (seed " + figure.dataset.seed + ")" : "";
    viewer.querySelector("h2").textContent = (figure.dataset.prompt || "Pictures") + seed;
    put("below", base || candidate);
    put("above", both ? candidate : null);
    viewer.querySelector(".slider").hidden = viewer.querySelector(".divider").hidden = !both;
    viewer.querySelector(".scores .base").textContent = base ? "base: " + words(base) : "";
    viewer.querySelector(".scores .candidate").textContent = candidate ? "candidate: " + words(candidate) : "";
    viewer.querySelector(".place").textContent = at + 1 + " of " + figures.length;
    slide();
  }
  var all = document.getElementById("reveal");
  if (all) {
    all.addEventListener("change", function () { document.body.classList.toggle("uncovered", all.checked); });
    document.body.classList.toggle("uncovered", all.checked);  // a browser keeps the box when it loads a page again
  }
  function isBlurred(figure) {
    return document.body.classList.contains("sensitive") && !(all && all.checked) && !figure.classList.contains("revealed");
  }
  function enlarge(image) {
    var figure = image.closest("figure.pair");
    if (isBlurred(figure)) {
      figure.classList.add("revealed");
      return;
    }
    figures = Array.prototype.slice.call(image.closest(".sheet, details.case, section").querySelectorAll("figure.pair"))
      .filter(function (each) { return each.querySelector("img") && !isBlurred(each); });
    viewer.querySelector("input").value = 50;
    show(figures.indexOf(figure));
    viewer.showModal();
  }
  function prepare(root) {
    root.querySelectorAll("figure.pair .side:last-child img").forEach(function (image) {
      image.tabIndex = 0;
      image.setAttribute("role", "button");
    });
  }
  if (viewer && viewer.showModal) {
    document.documentElement.classList.add("enlarges");
    document.querySelectorAll("section:not(.group), details.case[open]").forEach(prepare);
    document.addEventListener("toggle", function (event) { if (event.target.open) prepare(event.target); }, true);
    document.addEventListener("click", function (event) {
      var image = event.target.closest("figure.pair .side img");
      if (image) enlarge(image);
      if (event.target === viewer) viewer.close();
    });
    viewer.addEventListener("click", function (event) {
      var what = event.target.dataset.do;
      if (what === "close") viewer.close();
      if (what === "previous") show(at - 1);
      if (what === "next") show(at + 1);
    });
    viewer.querySelector("input").addEventListener("input", slide);
    viewer.addEventListener("keydown", function (event) {
      if (event.target.type === "range") return;
      if (event.key === "ArrowLeft") show(at - 1);
      if (event.key === "ArrowRight") show(at + 1);
    });
  }

  // The keyboard.

  function step(by) {
    var visible = cases.filter(function (item) { return item.checkVisibility ? item.checkVisibility() : !item.hidden; });
    visible.sort(function (one, other) { return one.compareDocumentPosition(other) & 4 ? -1 : 1; });
    var place = visible.indexOf(document.activeElement.closest && document.activeElement.closest("details.case"));
    var next = visible[place < 0 ? (by > 0 ? 0 : visible.length - 1) : place + by];
    if (next) next.querySelector("summary").focus();
  }
  document.addEventListener("keydown", function (event) {
    var typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
    if (event.ctrlKey || event.metaKey || event.altKey || (viewer && viewer.open)) return;
    if (event.key === "Escape" && bar && event.target.tagName !== "SELECT") {
      showAll();
      event.target.blur();
    }
    if (typing) return;
    if (event.key === "/" && bar) {
      event.preventDefault();
      search.focus();
    }
    if (event.key === "j") step(1);
    if (event.key === "k") step(-1);
    var item = event.target.closest && event.target.closest("details.case");
    if (event.key === "o" && item) item.open = !item.open;
    var image = event.target.closest && event.target.closest("figure.pair img");
    if (image && (event.key === "Enter" || event.key === " ")) {
      event.preventDefault();
      enlarge(image);
    }
  });

  // Links to cases.

  function reveal(hash) {
    var target = document.getElementById(decodeURIComponent(hash.slice(1)));
    if (!target || !target.matches("details.case")) return;
    if (target.hidden) showAll();
    target.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", function () { reveal(location.hash); });
  document.addEventListener("click", function (event) {  // also a second click on the same link
    var link = event.target.closest("a[href^='#']");
    if (link) reveal(link.getAttribute("href"));
  });
  reveal(location.hash);
})();
