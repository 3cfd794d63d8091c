// The export dialog: the fields of the command, what it would do, and the equal command.

import { Trouble, postExport } from "./api.js";
import { byId, make, named } from "./dom.js";
import { many, size } from "./words.js";

const PAUSE_MS = 350; // after the last key, before the plan is asked for

export class ExportDialog {
  /** saver: the one whose decisions are to be on the disk first. */
  constructor(saver) {
    this._saver = saver;
    this._running = false;
    this._dialog = byId("export");
    this._form = this._dialog.querySelector("form");
    this._turn = 0;
    this._form.addEventListener("input", () => this._soon());
    this._form.addEventListener("submit", (event) => {
      if (event.submitter?.value !== "run") return;
      event.preventDefault();
      this._run();
    });
    byId("export-copy").addEventListener("click", () => this._copy());
    saver.addEventListener("change", () => this._dialog.open && !saver.waiting && this._soon());
  }

  /** presets: [{name, title}]. */
  open(presets) {
    const select = this._form.elements.preset;
    if (!select.length) {
      const all = presets.length ? presets : [{ name: "plain", title: "Plain" }];
      select.append(...all.map(({ name, title }) => make("option", { value: name }, title)));
    }
    this._plan();
    this._dialog.showModal();
  }

  _options(dryRun) {
    const { to, preset, name, format, max_side, quality, url_prefix, csv, zip, all } = this._form.elements;
    const number = (field) => (field.value ? Number(field.value) : null);
    return {
      to: to.value.trim(),
      preset: preset.value,
      name: name.value.trim() || null,
      format: format.value || null,
      max_side: number(max_side),
      quality: number(quality),
      url_prefix: url_prefix.value.trim() || null,
      csv: csv.checked,
      zip: zip.checked,
      all: all.checked,
      dry_run: dryRun,
    };
  }

  _soon() {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => this._plan(), PAUSE_MS);
  }

  async _plan() {
    if (this._running) return; // the real one speaks
    this._turn += 1;
    const mine = this._turn;
    const ready = this._form.elements.to.value.trim() !== "" && this._form.checkValidity();
    byId("export-run").disabled = true;
    if (!ready) {
      this._say("Name a folder to see what would be written.");
      this._show(null);
      return;
    }
    try {
      const plan = await postExport(this._options(true));
      if (mine !== this._turn) return; // an older question
      this._show(plan);
      const there = plan.there ? `, ${plan.there} there already` : "";
      this._say(`${many(plan.files, "file")} to write (${size(plan.bytes)})${there}.`);
      byId("export-run").disabled = plan.files === 0 && plan.there === 0;
    } catch (error) {
      if (mine === this._turn) this._failed(error);
    }
  }

  async _run() {
    const button = byId("export-run");
    if (button.disabled) return;
    clearTimeout(this._timer);
    this._turn += 1;
    if (this._saver.waiting) {
      this._say("Decisions are not saved yet: wait for Saved.", "failed");
      return;
    }
    this._running = true;
    button.disabled = true;
    this._say("Exporting …");
    try {
      const done = await postExport(this._options(false));
      this._show(done);
      const there = done.there ? `; ${done.there} were there already` : "";
      this._say(`Done: ${many(done.files, "file")} written to ${done.to}${there}.`, "done");
    } catch (error) {
      this._failed(error);
    } finally {
      this._running = false;
      button.disabled = false;
    }
  }

  _failed(error) {
    if (!(error instanceof Trouble)) throw error;
    this._show(null);
    this._say(error.message, "failed");
  }

  _say(text, state = "") {
    const said = byId("export-said");
    said.textContent = text;
    said.dataset.state = state;
  }

  _show(plan) {
    byId("export-plan").hidden = plan === null;
    if (plan === null) return;
    byId("export-command").textContent = plan.command;
    const names = plan.sample.map((name) => make("li", {}, named(name)));
    const rest = plan.files + plan.there - plan.sample.length;
    if (rest > 0 && names.length) names.push(make("li", {}, `… and ${rest} more`));
    byId("export-sample").replaceChildren(...names);
    byId("export-warnings").replaceChildren(...plan.warnings.map((text) => make("li", {}, text)));
  }

  async _copy() {
    const command = byId("export-command");
    try {
      await navigator.clipboard.writeText(command.textContent);
      byId("export-copy").textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(command); // to be copied by hand
      byId("export-copy").textContent = "Selected: press Ctrl + C";
    }
    setTimeout(() => (byId("export-copy").textContent = "Copy"), 3000);
  }
}
