(function () {
  "use strict";
  var sitting = document.getElementById("sitting");
  var images = JSON.parse(sitting.dataset.images);
  var picture = document.getElementById("picture");
  var trouble = document.getElementById("trouble");
  var choices = Array.from(document.querySelectorAll("[data-answer]"));
  var back = document.getElementById("back");
  var keys = { y: "yes", n: "no", u: "unsure" };
  var at = firstOpen();
  var busy = false, ended = false;

  function firstOpen() {
    var place = images.findIndex(function (image) { return !image.answer; });
    return place < 0 ? images.length : place;
  }

  function address(image) { return "image/" + image.id; }

  function ready() {
    return !busy && !ended && at < images.length && picture.complete && picture.naturalWidth > 0;
  }

  function refresh() {
    var able = ready();
    choices.forEach(function (button) { button.disabled = !able; });
    back.disabled = busy || at === 0;
    document.querySelectorAll(".end").forEach(function (button) { button.disabled = busy; });
  }

  function fail(words) {
    trouble.textContent = words;
    trouble.hidden = !words;
  }

  function show() {
    var done = images.filter(function (image) { return image.answer; }).length;
    var all = at >= images.length;
    document.getElementById("bar").value = done;
    document.getElementById("count").textContent = done + " of " + images.length;
    document.getElementById("asking").hidden = ended || all;
    document.getElementById("done").hidden = ended || !all;
    document.getElementById("ended").hidden = !ended;
    document.getElementById("stop").hidden = all;
    document.querySelector("nav").hidden = ended;
    if (ended || all) {
      document.getElementById(ended ? "ended-title" : "done-title").focus();
    } else {
      choices.forEach(function (button) {
        button.setAttribute("aria-pressed", String(button.dataset.answer === images[at].answer));
      });
      picture.className = "waiting";
      picture.alt = "Image " + (at + 1) + " of " + images.length + ", to be labelled";
      picture.src = address(images[at]);
      document.getElementById("heard").textContent = "Image " + (at + 1) + " of " + images.length;
      if (at + 1 < images.length) new Image().src = address(images[at + 1]);
    }
    refresh();
  }

  function send(path, body) {
    busy = true;
    refresh();
    return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
      .catch(function () { throw new Error("The program that asked is not running any more. Start it again: it goes on from here."); })
      .then(function (reply) {
        if (reply.ok) return;
        return reply.json().then(function (body) { throw new Error("This was not written down. " + body.message); });
      })
      .then(function () { busy = false; fail(""); })
      .catch(function (error) { busy = false; fail(error.message); refresh(); throw error; });
  }

  function answer(word) {
    if (!ready()) return;
    var image = images[at];
    send("answer", { image: image.id, answer: word }).then(function () {
      image.answer = word;
      at = firstOpen();
      show();
    }, function () {});
  }

  function goBack() {
    if (busy || ended || at === 0) return;
    at -= 1;
    show();
  }

  function end() {
    if (busy || ended) return;
    send("end", {}).then(function () { ended = true; show(); }, function () {});
  }

  picture.addEventListener("load", function () { picture.className = ""; refresh(); });
  picture.addEventListener("error", function () { fail("The image cannot be shown. Is the program that asked still running?"); refresh(); });
  choices.forEach(function (button) { button.addEventListener("click", function () { answer(button.dataset.answer); }); });
  back.addEventListener("click", goBack);
  document.querySelectorAll(".end").forEach(function (button) { button.addEventListener("click", end); });
  addEventListener("keydown", function (event) {
    if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    var key = event.key.toLowerCase();
    if (keys[key]) answer(keys[key]);
    else if (key === "b" || key === "arrowleft") goBack();
  });
  show();
})();
