(function () {
  "use strict";
  var bar = document.getElementById("filter");
  var cases = document.querySelectorAll("details.case");
  if (bar) {
    bar.hidden = false;
    bar.addEventListener("click", function (event) {
      var button = event.target.closest("button");
      if (!button) return;
      var wanted = button.dataset.verdict;
      bar.querySelectorAll("button").forEach(function (other) {
        other.setAttribute("aria-pressed", String(other === button));
      });
      cases.forEach(function (item) {
        item.hidden = Boolean(wanted) && item.dataset.verdict !== wanted;
      });
      document.querySelectorAll(".part").forEach(function (part) {
        part.hidden = !part.querySelector("details.case:not([hidden])");
      });
    });
  }
  function reveal() {
    var target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details.case")) target.open = true;
  }
  addEventListener("hashchange", reveal);
  reveal();
})();
