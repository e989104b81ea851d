// The provider form: presets of a kind, and keys put into order by dragging.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const holder = document.getElementById("provider-kinds");
  const kinds = holder ? JSON.parse(holder.textContent) : {};
  const kind = document.getElementById("id_kind");
  const name = document.getElementById("id_name");
  const url = document.getElementById("id_base_url");

  const show = (selector, visible) => {
    const element = document.querySelector(selector);
    if (element) element.hidden = !visible;
  };
  let last = {};
  const apply = () => {
    const preset = kinds[kind.value];
    show(".ab-bedrock", Boolean(preset?.has_options));
    show(".ab-keys-field", preset ? preset.has_pool : true);
    if (!preset) return;
    if (!url.value || url.value === last.base_url) url.value = preset.base_url;
    if (!name.value || name.value === last.name) name.value = kind.value;
    url.placeholder = preset.help || preset.base_url;
    last = { base_url: preset.base_url, name: kind.value };
  };
  if (kind && kind.tagName === "SELECT") {
    kind.addEventListener("change", apply);
    apply();
  }

  const list = document.querySelector("[data-sortable]");
  if (!list || !list.querySelector(".ab-handle")) return;
  let dragged = null;
  for (const row of list.children) {
    row.querySelector(".ab-handle").addEventListener("pointerdown", () => {
      row.draggable = true;
    });
    row.addEventListener("dragstart", (event) => {
      dragged = row;
      event.dataTransfer.effectAllowed = "move";
      row.classList.add("is-dragged");
    });
    row.addEventListener("dragend", () => {
      row.draggable = false;
      row.classList.remove("is-dragged");
      const form = document.getElementById(list.dataset.orderForm);
      form.elements.order.value = [...list.children].map((one) => one.dataset.id).join(",");
      form.submit();
    });
  }
  list.addEventListener("dragover", (event) => {
    event.preventDefault();
    const over = event.target.closest("li");
    if (!dragged || !over || over === dragged) return;
    const box = over.getBoundingClientRect();
    const after = event.clientY > box.top + box.height / 2;
    list.insertBefore(dragged, after ? over.nextSibling : over);
  });
});
