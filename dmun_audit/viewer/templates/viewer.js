(function () {
  "use strict";
  var form = document.querySelector("form");
  if (!form) return;
  var rows = Array.prototype.slice.call(document.querySelectorAll("tbody tr"));
  var search = document.getElementById("search"), button = form.querySelector("button"), shown = document.getElementById("shown");
  document.getElementById("filter").hidden = false;
  function choose() {
    var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), count = 0;
    var wanted = Array.prototype.slice.call(document.querySelectorAll("select[data-field]"));
    rows.forEach(function (row) {
      row.hidden = !wanted.every(function (select) { return !select.value || row.dataset[select.dataset.field] === select.value; }) ||
        !words.every(function (word) { return row.textContent.toLowerCase().includes(word); });
      count += row.hidden ? 0 : 1;
    });
    shown.textContent = count === rows.length ? "" : count + " of " + rows.length + " runs";
  }
  function count() {
    button.disabled = form.querySelectorAll("input[name=run]:checked").length < 2;
  }
  document.getElementById("filter").addEventListener("input", choose);
  form.addEventListener("change", count);
  document.addEventListener("keydown", function (event) {
    if (event.key === "/" && !/^(INPUT|SELECT)$/.test(event.target.tagName)) {
      event.preventDefault();
      search.focus();
    }
  });
  count();
})();
