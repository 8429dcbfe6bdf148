"""Theme, style sheet and keys of the page.

Gradio 6 takes these at `launch`, not when the page is built.
"""

import json

import gradio as gr

from ui.words.tables import ENGLISH, languages, translations

_CSS = """
.gradio-container { max-width: 1240px !important; margin-inline: auto; }
#masthead h1 { margin: 0 0 .25rem; font-size: 1.5rem; }
#model_line p { color: var(--body-text-color); margin: 0; }

/* Wide: ask and settings on the left, the clip on the right, the gallery below. Narrow: ask, clip,
   gallery, settings. */
#studio { display: grid; gap: var(--layout-gap, 16px); align-items: start;
  grid-template-columns: minmax(0, 5fr) minmax(0, 6fr);
  grid-template-areas: "ask result" "settings result" "clips clips"; grid-template-rows: auto 1fr auto; }
#ask { grid-area: ask; } #result { grid-area: result; } #settings { grid-area: settings; }
#clips { grid-area: clips; }
#ask, #result, #settings, #clips { min-width: 0; width: 100%; }
@media (min-width: 801px) { #result { position: sticky; top: 1rem; } }
@media (max-width: 800px) {
  #studio { grid-template-columns: minmax(0, 1fr); grid-template-rows: none;
    grid-template-areas: "ask" "result" "clips" "settings"; }
  #modes [role=tablist] button { padding-inline: .4rem; }
  /* One row of examples that scrolls by itself, so that the clip stays near the button. */
  .examples .grid-container { display: flex !important; overflow-x: auto; padding-bottom: .25rem; }
  .examples .grid-container > * { flex: none; width: 6rem; }
}

/* No higher than their pictures; all presets in a row where there is room. */
.examples .grid-wrap { min-height: 0 !important; height: auto !important; }
#presets { gap: .4rem; } #presets button { flex: 1 1 auto; padding-inline: .4rem; }

/* Help texts differ in length; the boxes below them still stand on one line. */
:is(#num_frames, #seed, #batch_count, #source_start, #source_every) label { display: flex; flex-direction: column;
  height: 100%; }
:is(#num_frames, #seed, #batch_count, #source_start, #source_every) label > :last-child { margin-top: auto; }
#status .html-container, #estimate .html-container, #preview .html-container,
#source_told .html-container { padding: 0 !important; }
.note { margin: 0; } .note p { margin: 0; color: var(--block-info-text-color); font-size: var(--text-sm); }
#modes .tabitem { padding: .75rem 0 0; border: none; }

.told { min-height: 2.4rem; color: var(--body-text-color); }
.told p { display: flex; flex-wrap: wrap; justify-content: space-between; gap: .25rem 1rem;
  margin: 0 0 .4rem; }
.told ul { margin: 0; padding-left: 1.2rem; font-size: var(--text-sm); overflow-wrap: anywhere; }
.kept p { margin: 0 0 .3rem; }
.kept ul { display: flex; flex-wrap: wrap; gap: .5rem 1rem; list-style: none; margin: 0; padding: 0; }
.kept li { display: flex; align-items: center; gap: .4rem; font-size: var(--text-sm); }
.kept img { width: 3rem; height: 3rem; object-fit: cover; border-radius: var(--radius-sm); }
.told span { font-variant-numeric: tabular-nums; }
.told .bar { height: .5rem; border-radius: .25rem; overflow: hidden;
  background: var(--border-color-primary); }
.told .bar div { height: 100%; background: var(--color-accent); }
.told.wrong { padding: .6rem .8rem; border-radius: var(--radius-md);
  color: var(--error-text-color); background: var(--error-background-fill);
  border: 1px solid var(--error-border-color); overflow-wrap: anywhere; }
#about_facts .facts { width: 100%; border: none; border-collapse: collapse; color: var(--body-text-color);
  font-size: var(--text-sm); }
#about_facts :is(th, td) { padding: .3rem .75rem .3rem 0; border: none; text-align: left; vertical-align: top;
  overflow-wrap: anywhere; }
#about_facts tr { border: none; }
#about_facts tr + tr { border-top: 1px solid var(--border-color-primary); }
#about_facts th { width: 11rem; max-width: 38vw; font-weight: 600; }
:is(#recipe, #gallery_recipe) :is(.cm-line, .cm-line span, .cm-gutterElement) { color: var(--body-text-color); }
.windows { margin: 0; color: var(--body-text-color); }
.windows figcaption { font-size: var(--text-sm); }
.windows p { display: flex; justify-content: space-between; margin: .5rem 0 .15rem; font-size: var(--text-sm); }
.windows svg { display: block; width: 100%; color: var(--color-accent);
  background: var(--background-fill-secondary); }

/* Gradio's play sign fills a video's thumbnail and pushes the picture out of it; the box is high even for one row. */
#gallery .thumbnail-lg > svg { position: absolute; inset: 0; margin: auto; width: 25%; height: 25%; z-index: 1;
  color: white; opacity: .85; filter: drop-shadow(0 0 3px black); pointer-events: none; }
#gallery .thumbnail-lg video { position: absolute; inset: 0; object-fit: contain; }
#gallery .grid-wrap { min-height: 0; height: auto; max-height: 30rem; }
#gallery .grid-container { grid-template-columns: repeat(auto-fill, minmax(min(9rem, 45%), 1fr)); }

.hold { margin: 0; color: var(--body-text-color); font-size: var(--text-sm); }
.hold figcaption { display: flex; flex-wrap: wrap; gap: .2rem 1rem; margin-bottom: .3rem; }
.hold figcaption span::before { content: ""; display: inline-block; width: .7rem; height: .7rem;
  margin-right: .4rem; border-radius: 2px; background: var(--border-color-primary); }
.hold figcaption .first::before { background: #4f6bed; } .hold figcaption .last::before { background: #d97706; }
.hold svg { display: block; width: 100%; height: 5rem; border-radius: var(--radius-sm);
  background: var(--border-color-primary); }
.hold g.first { fill: #4f6bed; } .hold g.last { fill: #d97706; }
.hold p { display: flex; justify-content: space-between; margin: .15rem 0 0; }

.travel { margin: 0; color: var(--body-text-color); font-size: var(--text-sm); }
.travel figcaption { color: var(--block-info-text-color); margin-bottom: .2rem; }
.travel svg { display: block; width: 100%; height: 2rem; border-radius: var(--radius-sm); }
.travel .frames { position: relative; height: 1.3rem; font-variant-numeric: tabular-nums; }
.travel .frames span { position: absolute; transform: translateX(-50%); }
.travel ol, .travel ul { list-style: none; margin: .2rem 0 0; padding: 0; }
.travel ol { max-height: 11rem; overflow-y: auto; }
.travel li { overflow-wrap: anywhere; margin-bottom: .15rem; }
.travel ol i { display: inline-block; width: .7rem; height: .7rem; margin-right: .4rem; border-radius: 2px; }
.travel ol b { font-variant-numeric: tabular-nums; margin-right: .2rem; }
.travel .faults li { padding: .4rem .6rem; border-radius: var(--radius-md); color: var(--error-text-color);
  background: var(--error-background-fill); border: 1px solid var(--error-border-color); }
ul.travel.foreign li { padding: .3rem .6rem; border-left: 3px solid var(--border-color-primary); }
.travel mark { color: inherit; background: none; text-decoration: underline wavy; text-underline-offset: .2em;
  font-weight: 700; }
.travel code { display: block; white-space: pre-wrap; }
/* A strip of frames, one below the other, of which one is seen; at rest it is the middle one. */
div.preview { overflow: hidden; width: min(100%, 70vh * var(--width) / var(--height)); margin-inline: auto;
  aspect-ratio: var(--width) / var(--height); border-radius: var(--radius-md); }
div.preview img { display: block; width: 100%; max-width: none; height: calc(100% * var(--frames));
  transform: translateY(calc(-100% / var(--frames) * round(down, var(--frames) / 2, 1))); }
@media (prefers-reduced-motion: no-preference) {
  div.preview img { animation: film var(--lasts) steps(var(--frames)) var(--since) infinite; }
  .told .bar div { transition: width .2s linear; }
}
@keyframes film { from { transform: none; } to { transform: translateY(-100%); } }
"""

# A screen reader speaks as the page does. Which language that is, Gradio decides in the same way.
_LANGUAGE = """
<script>
{
  const code = navigator.language.split("-")[0];
  document.documentElement.lang = LANGUAGES.includes(code) ? code : ENGLISH;
}
</script>
"""

# Ctrl+Enter generates, Esc cancels; a disabled button ignores the click, and an open list keeps its Esc.
_HEAD = """
<script>
document.addEventListener("keydown", (event) => {
  const press = (id) => { const b = document.getElementById(id); if (b && !b.disabled) b.click(); };
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    press("generate");
  }
  const inList = event.target.closest("[role=listbox], [role=combobox], dialog");
  if (event.key === "Escape" && !inList) press("cancel");
});
// No style sheet stops a moving picture, so that examples become their first frame where less motion is asked for.
document.addEventListener("load", ({target}) => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (!calm || !target.matches?.(".examples img") || target.src.startsWith("data:")) return;
  const still = document.createElement("canvas");
  [still.width, still.height] = [target.naturalWidth, target.naturalHeight];
  still.getContext("2d").drawImage(target, 0, 0);
  target.src = still.toDataURL();
}, true);
</script>
"""


def page_looks() -> dict[str, object]:
    """Build the arguments of `launch` for looks and languages."""
    theme = gr.themes.Default(primary_hue="indigo", neutral_hue="slate").set(
        # The theme's own greys for labels and help miss the contrast that small text needs.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
    )
    language = _LANGUAGE.replace("LANGUAGES", json.dumps(languages())).replace("ENGLISH", json.dumps(ENGLISH))
    return {"theme": theme, "css": _CSS, "head": language + _HEAD, "i18n": gr.I18n(**translations())}
