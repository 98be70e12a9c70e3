(function () {
  "use strict";
  var session = document.getElementById("session");
  var images = JSON.parse(session.dataset.images);
  var picture = document.getElementById("picture");
  var trouble = document.getElementById("trouble");
  var choices = Array.from(document.querySelectorAll("[data-answer]"));
  var back = document.getElementById("back");
  var keys = { y: "yes", n: "no", u: "unsure" };
  var at = firstUnlabelled();
  var busy = false, ended = false;

  function firstUnlabelled() {
    var place = images.findIndex(function (image) { return !image.answer; });
    return place < 0 ? images.length : place;
  }

  function address(image) { return "image/" + image.id; }

  function ready() {
    return !busy && !ended && at < images.length && picture.complete && picture.naturalWidth > 0;
  }

  function refresh() {
    var enabled = ready();
    choices.forEach(function (button) { button.disabled = !enabled; });
    back.disabled = busy || at === 0;
    document.querySelectorAll(".end").forEach(function (button) { button.disabled = busy; });
  }

  function showError(message) {
    trouble.textContent = message;
    trouble.hidden = !message;
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
      document.getElementById("announcement").textContent = "Image " + (at + 1) + " of " + images.length;
      if (at + 1 < images.length) new Image().src = address(images[at + 1]);
    }
    refresh();
  }

  function send(path, body) {
    busy = true;
    refresh();
    return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
      .catch(function () { throw new Error("The program is no longer running. Start it again: it continues here."); })
      .then(function (reply) {
        if (reply.ok) return;
        return reply.json().then(function (body) { throw new Error("Your answer was not saved. " + body.message); });
      })
      .then(function () { busy = false; showError(""); })
      .catch(function (error) { busy = false; showError(error.message); refresh(); throw error; });
  }

  function answer(choice) {
    if (!ready()) return;
    var image = images[at];
    send("answer", { image: image.id, answer: choice }).then(function () {
      image.answer = choice;
      at = firstUnlabelled();
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
  picture.addEventListener("error", function () { showError("The image cannot be shown. Is the program still running?"); refresh(); });
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
