"""Texts as the programs of the field write them, in every container and character set: read, or named."""

import json
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from api.recipes.foreign import program_of
from api.recipes.read import is_recipe, read_request, restore
from media.ffmpeg import run_ffmpeg
from media.picture_text import xmp_texts
from pipelines.plan.choices import HiresMethod
from pipelines.plan.errors import UserError
from pipelines.plan.request import GenerationRequest
from studio.modes import Mode

MUSEUM = Path(__file__).resolve().parents[1] / "museum"
INFOTEXTS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((MUSEUM / "infotexts").glob("*.txt"))}
FOREIGN = {path.stem: path.read_text(encoding="utf-8") for path in sorted((MUSEUM / "foreign").glob("*.json"))}
RECIPE = (MUSEUM / "recipes/0.7.0/words.txt").read_text(encoding="utf-8")
DREAMSHAPER = "Lykon/DreamShaper"
FOX = "a fox in tall grass"

MEANT = {
    "webui-1.6-karras-hires": {
        "prompt": "masterpiece, a lighthouse by the sea, (storm:1.2) <lora:more_waves:0.7>",
        "negative_prompt": "easynegative, lowres,\nbad anatomy",
        "num_inference_steps": 24,
        "scheduler": "dpmpp_2m",
        "seed": 2786411903,
        "width": 512,
        "height": 640,
        "base_model": DREAMSHAPER,
        "clip_skip": 1,
        "hires_scale": 1.5,
        "hires_strength": 0.45,
        "hires_method": HiresMethod.LATENT,
    },
    "webui-1.9-automatic": {"scheduler": "euler_a", "seed": 314159, "num_inference_steps": 20, "hires_scale": 1.0},
    "webui-1.10-karras": {
        "scheduler": "dpmpp_2m",
        "hires_scale": 1.5,
        "hires_strength": 0.55,
        "negative_prompt": "fog",
    },
    "webui-2022-first-pass": {"width": 512, "height": 512, "hires_scale": 2.0, "hires_strength": 0.7},
    "webui-img2img": {"strength": 0.6, "width": 768, "scheduler": "ddim"},
    "webui-quoted-values": {"prompt": "a street: day, rain", "scheduler": "euler", "seed": 8},
    "forge-beta": {"scheduler": "euler", "guidance_scale": 5, "clip_skip": 1, "width": 512, "height": 768},
    "sdnext": {
        "prompt": FOX,
        "negative_prompt": "",
        "seed": 1234,
        "num_inference_steps": 25,
        "scheduler": "euler_a",
        "clip_skip": 1,
        "hires_scale": 2.0,
        "hires_strength": 0.3,
        "base_model": DREAMSHAPER,
    },
    "civitai-resources": {"seed": 1234, "scheduler": "euler_a", "clip_skip": 1, "height": 768},
    "civitai-resources-cut": {"seed": 1234, "scheduler": "euler_a", "clip_skip": 1, "height": 768},
    "fooocus-a1111-scheme": {"seed": 8125, "num_inference_steps": 30, "guidance_scale": 4},
    "draw-things": {"prompt": FOX, "negative_prompt": "blurry, low quality", "scheduler": "dpmpp_2m", "seed": 4021},
    "animatediff-2.0": {
        "prompt": f"{FOX}\n0: spring\n8: winter",
        "num_frames": 24,
        "closed_loop": "windows",
        "interpolation": "film",
        "keep_duration": False,
    },
    "animatediff-1.9-dict": {
        "num_frames": 16,
        "context_overlap": 4,
        "motion_module": "guoyww/animatediff/mm_sd_v15_v2.ckpt",
    },
    "animatediff-1.7-txt": {"prompt": FOX, "num_frames": 16, "motion_module": "guoyww/animatediff/mm_sd_v15_v2.ckpt"},
}
NOTED = {
    "webui-1.6-karras-hires": ["Schedule type (Karras)", "Hires steps (12)", "more_waves"],
    "webui-1.9-automatic": [],
    "webui-1.10-karras": ["Schedule type (Karras)", "Hires steps (10)", "Pad conds (True)"],
    "webui-2022-first-pass": [],
    "webui-img2img": ["First frame", "Mask blur (4)"],
    "webui-quoted-values": [
        "mix, of: two",
        "ControlNet 0 (Module: canny",
        "Refiner (xl: refiner",
        "X Values (1, 2, 3)",
    ],
    "forge-beta": ["Schedule type (Beta)", "Module 1 (vae-ft-mse-840000-ema-pruned)"],
    "sdnext": ["HiRes mode (1)", "Hires force (True)", "Hires steps (10)"],
    "civitai-resources": [],
    "civitai-resources-cut": [],
    "fooocus-a1111-scheme": [
        "'DPM++ 2M SDE' has no counterpart",
        "juggernautXL",
        "Sharpness (2)",
        "ADM Guidance ((1.5, 0.8, 0.3))",
    ],
    "draw-things": ["sd_v1.5_f16.ckpt", "Schedule type (Karras)"],
    "animatediff-2.0": [],
    "animatediff-1.9-dict": [],
    "animatediff-1.7-txt": [],
}


@pytest.mark.parametrize("name", INFOTEXTS)
def test_an_infotext_of_the_field_is_read(name):
    restored = restore(INFOTEXTS[name])
    request = GenerationRequest.build(**restored.values)
    values = {field: getattr(request, field) for field in MEANT[name]}
    assert values == MEANT[name]
    notes = " | ".join(restored.notes)
    assert [words for words in NOTED[name] if words not in notes] == []
    if not NOTED[name]:
        assert restored.notes == ()
    is_from_picture = name in ("webui-img2img", "draw-things")
    assert restored.mode is (Mode.IMG2VID if is_from_picture else Mode.TXT2VID)


def test_the_settings_of_an_infotext_may_stand_in_any_order():
    *_, line = INFOTEXTS["webui-1.9-automatic"].strip().split("\n")
    settings = line.split(", ")
    expected = restore(f"x\n{line}").values
    for turned in range(1, len(settings)):
        assert restore(f"x\n{', '.join(settings[turned:] + settings[:turned])}").values == expected


SETTINGS = "Sampler: Euler a, CFG scale: 7, Seed: 1234, Size: 512x384"
RUN_ON = {
    "all in one line": f"a fox Negative prompt: blurry Steps: 20, {SETTINGS}",
    "commas for breaks": f"a fox, Negative prompt: blurry, Steps: 20, {SETTINGS}",
    "settings behind the negative prompt": f"a fox\nNegative prompt: blurry Steps: 20, {SETTINGS}",
    "a line for each setting": "a fox\nNegative prompt: blurry\nSteps: 20\n" + SETTINGS.replace(", ", "\n"),
    "a value of two lines": f'a fox\nNegative prompt: blurry\nSteps: 20, Hires prompt: "one,\ntwo", {SETTINGS}',
    "labels of a page": f"parameters\n\na fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}",
    "a label of the prompt": f"Positive prompt: a fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}",
    "spaces that don't break": f"a fox\nNegative\xa0prompt:\xa0blurry\nSteps:\xa020,\xa0{SETTINGS}",
    "wide colons": f"a fox\nNegative prompt：blurry\nSteps： 20, {SETTINGS.replace(':', '：')}",
    "quotes around it": f'"a fox\nNegative prompt: blurry\nSteps: 20, {SETTINGS}"',
}


@pytest.mark.parametrize("text", RUN_ON.values(), ids=RUN_ON)
def test_an_infotext_is_read_where_its_lines_are_others(text):
    values = restore(text).values
    assert (values["prompt"].rstrip(","), values["negative_prompt"]) == ("a fox", "blurry")
    assert (values["num_inference_steps"], values["seed"], values["height"]) == (20, 1234, 384)


def test_a_seed_that_is_drawn_each_time_is_not_drawn_on_reading():
    assert restore("x\nSteps: 20, Sampler: Euler, Seed: -1, Size: 512x512").values["seed"] == -1


SAMPLERS = {
    "dpmpp_2m": [
        "DPM++ 2M",
        "DPM++ 2M Karras",
        "k_dpmpp_2m",
        "k_dpmpp_2m_ka",
        "dpmpp_2m_k",
        "DPMSolverMultistepScheduler",
    ],
    "euler_a": [
        "Euler a",
        "Euler A",
        "k_euler_a",
        "k_euler_ancestral",
        "euler_ancestral",
        "Euler a Karras",
        "Euler A Trailing",
    ],
    "euler": ["Euler", "k_euler", "euler"],
    "ddim": ["DDIM", "ddim", "DDIM Trailing", "ddim_v3"],
    "lcm": ["LCM", "lcm", "LCM Karras"],
    None: [
        "UniPC",
        "DPM++ SDE Karras",
        "DPM++ 2M SDE",
        "Heun",
        "DPM2 a Karras",
        "PLMS",
        "LMS Karras",
        "k_lms",
        "DDIM CFG++",
        "",
    ],
}


@pytest.mark.parametrize(
    ("sampler", "name"), [(sampler, name) for sampler, names in SAMPLERS.items() for name in names]
)
def test_a_sampler_is_the_same_by_its_old_and_its_new_name(sampler, name):
    restored = restore(f"x\nSteps: 20, Sampler: {name}, Seed: 5, Size: 512x512")
    default = restore("x\nSteps: 20, Seed: 5, Size: 512x512").values["scheduler"]
    assert restored.values["scheduler"] == (sampler or default)
    assert (sampler is None and name != "") == any(note.startswith("Sampler:") for note in restored.notes)
    has_schedule = "Karras" in name or "Trailing" in name or name.endswith(("_ka", "_k"))
    assert has_schedule == any("Schedule type (" in note for note in restored.notes)


@pytest.mark.parametrize("schedule", ["Automatic", "automatic", "Uniform", "normal"])
def test_a_schedule_that_changes_nothing_is_not_told(schedule):
    assert restore(f"x\nSteps: 20, Sampler: Euler, Schedule type: {schedule}, Seed: 5, Size: 512x512").notes == ()


READ = {"swarmui", "fooocus", "novelai", "invokeai", "draw-things", "civitai-meta", "easy-diffusion", "sdapi-body"}
CALLED = {
    "comfyui-api": "a workflow of ComfyUI",
    "comfyui-ui": "a workflow of ComfyUI",
    "comfyui-videohelpersuite": "a workflow of ComfyUI",
    "comfyui-civitai": "a workflow of ComfyUI",
    "animatediff-cli": "a project of animatediff-cli",
    "deforum": "Deforum's settings",
    "unknown-program": "JSON of another program (keys: prompt, engine, temperature, seed)",
    "list-of-objects": "JSON that is no recipe",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_json_of_other_programs_is_never_a_recipe(name):
    assert not is_recipe(json.loads(FOREIGN[name]))


@pytest.mark.parametrize("name", sorted(READ))
def test_plain_settings_of_other_programs_are_read(name):
    restored = restore(FOREIGN[name])
    request = GenerationRequest.build(**restored.values)
    assert (request.prompt, request.negative_prompt, request.seed) == ("a fox", "blurry", 528021513)
    assert (request.num_inference_steps, request.guidance_scale) == (25, 6.5)
    assert (request.width, request.height, request.scheduler) == (512, 640, "dpmpp_2m")
    if name not in ("sdapi-body", "novelai"):  # whose model stands elsewhere
        assert request.base_model == DREAMSHAPER
    assert restored.mode is Mode.TXT2VID
    assert restored.notes[0].startswith(f"Read from {program_of(json.loads(FOREIGN[name])).name}")


@pytest.mark.parametrize("name", sorted(CALLED))
def test_json_that_cannot_be_read_is_named_for_what_it_is(name):
    with pytest.raises(UserError) as refused:
        restore(FOREIGN[name])
    assert f"got {CALLED[name]}" in str(refused.value)
    assert "by hand" in str(refused.value)
    assert len(str(refused.value)) < 400


NAMED = {
    "a workflow of ComfyUI": [
        {"a-run": {"prompt": [0, "a-run", {"3": {"class_type": "KSampler", "inputs": {}}}, {}], "outputs": {}}},
        {"nodes": [{"id": 1, "type": "KSampler", "widgets_values": [5]}], "config": {}, "extra": {}},
        [{"id": 1, "type": "KSampler", "widgets_values": [5]}],
    ],
    "SwarmUI's parameters": [{"prompt": "x", "seed": 1, "steps": 20, "swarm_version": "0.9"}],
    "a preset of Fooocus": [{"default_model": "x", "default_loras": [], "default_prompt": ""}],
    "Draw Things' settings": [{"seed": -1, "steps": 20, "guidanceScale": 5, "batchCount": 1, "width": 512}],
    "NovelAI's parameters": [{"Description": "x", "Software": "NovelAI", "Comment": "{}"}],
    "a workflow of InvokeAI": [{"name": "x", "nodes": [{"id": "a", "data": {}}], "edges": []}],
    "Deforum's settings": [{"W": 512, "H": 512, "prompts": {"0": "x"}, "seed": 2}],
    "an answer of the web UI's API": [{"images": ["…"], "parameters": {"prompt": "x"}, "info": "{}"}],
    "the web UI's settings": [
        {"samples_save": True, "sd_model_checkpoint": "x"},
        {"customscript/x": 1, "txt2img/Prompt/value": "a fox"},
    ],
    "styles for prompts": [
        [{"name": "ink", "prompt": "ink {prompt}", "negative_prompt": "photo"}],
        {"ink": {"prompt": "ink {prompt}", "negative_prompt": "photo"}},
        {"name": "ink", "prompt": "ink {prompt}", "negative_prompt": "photo"},
    ],
    "a configuration of a network": [{"_class_name": "UNet2DConditionModel", "in_channels": 4}],
    "a package.json of Node.js": [{"name": "x", "version": "1.0.0", "scripts": {}}],
}


@pytest.mark.parametrize(("name", "expected"), [(name, expected) for name, them in NAMED.items() for expected in them])
def test_settings_and_graphs_of_every_form_are_named(name, expected):
    with pytest.raises(UserError, match=f"got {name}"):
        restore(json.dumps(expected))


@pytest.mark.parametrize(
    "prompt",
    [
        {"nodes": [{"id": 1, "type": "Note", "widgets_values": ["TEXT"]}], "links": []},
        {"3": {"class_type": "SaveText", "inputs": {"text": "TEXT"}}},
        [{"role": "user", "content": "TEXT"}],
        {"metadata": {"text": "TEXT"}},
    ],
)
@pytest.mark.parametrize("written", [json.dumps, str], ids=["json", "python"])
def test_an_infotext_quoted_inside_of_a_graph_is_not_the_graphs_prompt(written, prompt):
    text = written(json.loads(json.dumps(prompt).replace("TEXT", TEXT.replace("\n", "\\n"))))
    with pytest.raises(UserError, match=r"^file must carry a recipe "):
        restore(text)


def test_the_infotext_in_an_answer_of_the_web_ui_is_read():
    info = {"prompt": "another", "seed": 1, "infotexts": [TEXT]}
    for answer in (info, {"images": ["…"], "parameters": {}, "info": json.dumps(info)}, {"info": TEXT, "items": {}}):
        values = restore(json.dumps(answer)).values
        assert (values["prompt"].split("\n")[0], values["seed"]) == (f"{FOX}: füchse, 狐", 1234)


def test_the_settings_in_fooocus_log_are_read():
    log = {"Prompt": "a fox", "Negative Prompt": "blurry", "Performance": "Speed", "Resolution": "(896, 512)"}
    restored = restore(json.dumps(log | {"Seed": "123", "Guidance Scale": 4, "Version": "Fooocus v2.5.0"}))
    values = restored.values
    assert (values["prompt"], values["negative_prompt"], values["seed"]) == ("a fox", "blurry", 123)
    assert (values["width"], values["height"], values["guidance_scale"]) == (896, 512, 4)


def test_every_foreign_piece_is_tried():
    assert {*READ, *CALLED} == set(FOREIGN)
    assert set(MEANT) == set(NOTED) == set(INFOTEXTS)


TEXT = (
    f"{FOX}: füchse, 狐\n0: day\n8: night\nNegative prompt: blurry\n"
    "Steps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384"
)


def exif(text: bytes, order: bytes = b"MM") -> bytes:
    """An EXIF whose only tag is the user's comment."""
    end = "<" if order == b"II" else ">"
    return b"".join(
        (
            b"Exif\0\0",
            order,
            struct.pack(f"{end}HI", 42, 8),
            struct.pack(f"{end}HHHIII", 1, 0x8769, 4, 1, 26, 0),
            struct.pack(f"{end}HHHIII", 1, 0x9286, 7, len(text), 44, 0),
            text,
        )
    )


COMMENTS = {
    f"{order.decode()} {charset}": exif(b"UNICODE\0" + TEXT.encode(charset), order)
    for order in (b"II", b"MM")
    for charset in ("utf-16-le", "utf-16-be", "utf-16", "utf-8")
} | {
    "ASCII": exif(b"ASCII\0\0\0" + TEXT.encode()),
    "undefined": exif(bytes(8) + TEXT.encode()),
    "no name": exif(TEXT.encode()),
    "a name in small letters": exif(b"Unicode\0" + TEXT.encode("utf-16-le")),
    "JIS": exif(b"JIS\0\0\0\0\0" + TEXT.replace("ü", "u").encode("iso2022_jp")),
    "with zeros behind": exif(b"UNICODE\0" + f"{TEXT}\0\0".encode("utf-16-be")),
}


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("comment", COMMENTS.values(), ids=COMMENTS)
def test_a_user_comment_is_read_in_every_order_and_character_set(comment, kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    Image.new("RGB", (64, 48)).save(path, exif=comment)
    assert_read(path)


def assert_read(path: Path) -> None:
    values = read_request(path).values
    assert values["prompt"] in (TEXT.split("\nNegative")[0], TEXT.split("\nNegative")[0].replace("ü", "u"))
    assert values["seed"] == 1234
    assert values["negative_prompt"] == "blurry"


def png(path: Path, *chunks: tuple[bytes, bytes], at_end: bool = False) -> Path:
    Image.new("RGB", (64, 48)).save(path)
    data = path.read_bytes()
    clip = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    place = len(data) - 12 if at_end else 33
    path.write_bytes(data[:place] + clip + data[place:])
    return path


XMP = f"""<?xpacket begin=""?><x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description><dc:creator>me</dc:creator>
<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{TEXT.replace(chr(10), "&#xA;")}</rdf:li></rdf:Alt>
</exif:UserComment>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


def raw_profile(kind: str, data: bytes) -> bytes:
    """A profile as ImageMagick writes it into a text of a PNG."""
    digits = data.hex()
    lines = [digits[at : at + 72] for at in range(0, len(digits), 72)]
    return "\n".join(["", kind, f"{len(data):8}", *lines, ""]).encode()


_exif = Image.Exif()
_exif.get_ifd(IFD.Exif)[Base.UserComment] = b"UNICODE\0" + TEXT.encode("utf-16-be")
EXIF = _exif.tobytes()
PNG_TEXTS = {
    "tEXt in UTF-8": [(b"tEXt", b"parameters\0" + TEXT.encode())],
    "tEXt under another key": [(b"tEXt", b"Comment\0" + TEXT.encode())],
    "zTXt": [(b"zTXt", b"parameters\0\0" + zlib.compress(TEXT.encode()))],
    "iTXt": [(b"iTXt", b"parameters\0\0\0\0\0" + TEXT.encode())],
    "packed iTXt": [(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(TEXT.encode()))],
    "behind a comment": [(b"tEXt", b"Comment\0Created with GIMP"), (b"iTXt", b"Description\0\0\0\0\0" + TEXT.encode())],
    "behind a graph": [
        (b"tEXt", b"prompt\0" + FOREIGN["comfyui-api"].encode()),
        (b"iTXt", b"parameters\0\0\0\0\0" + TEXT.encode()),
    ],
    "XMP": [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP.encode())],
    "ImageMagick's EXIF": [(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile("exif", EXIF)))],
    "ImageMagick's APP1": [(b"tEXt", b"Raw profile type APP1\0" + raw_profile("generic profile", EXIF))],
    "ImageMagick's XMP": [(b"tEXt", b"Raw profile type xmp\0" + raw_profile("xmp", XMP.encode()))],
}
FLAT_TEXT = TEXT.replace("\n", "&#xA;")
XMP_FORMS = {
    "an attribute": f'<rdf:Description xmlns:sd="http://a.b/c/d/e" sd:parameters="{FLAT_TEXT}"/>',
    "an attribute in single quotes": f"<rdf:Description photoshop:Instructions='{FLAT_TEXT}'/>",
    "an element of any name": f"<rdf:Description><xmp:Comment>{FLAT_TEXT}</xmp:Comment></rdf:Description>",
    "raw data": f'<dc:title><rdf:Alt><rdf:li xml:lang="x-default"><![CDATA[{TEXT}]]></rdf:li></rdf:Alt></dc:title>',
}


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("chunks", PNG_TEXTS.values(), ids=PNG_TEXTS)
def test_texts_of_png_are_read_wherever_they_stand(chunks, at_end, tmp_path):
    assert_read(png(tmp_path / "a.png", *chunks, at_end=at_end))


@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
@pytest.mark.parametrize("body", XMP_FORMS.values(), ids=XMP_FORMS)
def test_a_text_in_any_form_of_xmp_is_read(body, kind, tmp_path):
    packet = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>{body}</rdf:RDF></x:xmpmeta>'.encode()
    if kind == "png":
        path = png(tmp_path / "a.png", (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet))
    else:
        path = tmp_path / f"a.{kind}"
        Image.new("RGB", (64, 48)).save(path, xmp=packet)
    assert_read(path)


@pytest.mark.parametrize("piece", ["<a><![CDATA[", "<a><![CDATA[x]]>", "<a x='y'>bbbbbbbb", 'a="bbbbbbbb', "<a "])
def test_xmp_that_never_ends_is_read_once(piece):
    """Of 2 MB, which took hours where each beginning was followed to the end."""
    assert not any("Steps" in text for text in xmp_texts(piece * 200_000))


@pytest.mark.parametrize(("kind", "codec"), [("avi", "mpeg4"), ("ogv", "libtheora"), ("wmv", "wmv2"), ("flv", "flv")])
def test_the_comment_of_a_clip_of_any_kind_is_read(kind, codec, tmp_path):
    path = tmp_path / f"a.{kind}"
    source = ("-f", "lavfi", "-i", "testsrc2=s=64x64:r=8:d=0.2")
    run_ffmpeg(*source, "-c:v", codec, "-metadata", f"comment={TEXT}", str(path))
    assert_read(path)


def test_latin_1_in_a_png_is_read_as_such(tmp_path):
    text = "a füchse\nSteps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384"
    restored = read_request(png(tmp_path / "a.png", (b"tEXt", b"parameters\0" + text.encode("latin-1"))))
    assert restored.values["prompt"] == "a füchse"


@pytest.mark.parametrize("kind", ["jpg", "png", "gif", "webp"])
def test_an_infotext_wins_over_a_comment(kind, tmp_path):
    path = tmp_path / f"a.{kind}"
    comment = exif(b"UNICODE\0" + TEXT.encode("utf-16-be"))
    picture = Image.new("RGB", (64, 48))
    if kind == "gif":
        picture.save(path, comment=b"Created with GIMP")
        data = path.read_bytes()
        path.write_bytes(data[:-1] + gif_comments(TEXT.encode()) + b";")
    elif kind == "png":
        info = PngInfo()
        info.add_text("Comment", "Created with GIMP")
        picture.save(path, exif=comment, pnginfo=info)
    elif kind == "jpg":
        picture.save(path, exif=comment, comment=b"Created with GIMP")
    else:
        picture.save(path, exif=comment, xmp=XMP.replace("a fox", "another"))
    assert_read(path)


def gif_comments(data: bytes, size: int = 255) -> bytes:
    """Comments of a GIF, each as long as a block may be."""
    parts = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"\x21\xfe" + bytes([len(part)]) + part + b"\0" for part in parts)


def test_a_comment_that_a_writer_has_cut_into_several_is_read(tmp_path):
    text = TEXT.replace("day", "day " * 100)
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8)).save(path, comment=b"")
    path.write_bytes(path.read_bytes()[:-1] + gif_comments(text.encode()) + b";")
    assert read_request(path).values["prompt"].startswith(f"{FOX}: füchse, 狐\n0: day day")


FLAT = {
    "two signs": TEXT.replace("\n", r"\n"),
    "two signs after a return": TEXT.replace("\n", r"\r\n"),
    "entities": TEXT.replace("\n", "&#10;"),
    "hexadecimal entities": TEXT.replace("\n", "&#xa;"),
    "three signs": TEXT.replace("\n", r"\\n"),
    "a text of JSON": json.dumps(TEXT),
}


@pytest.mark.parametrize("text", FLAT.values(), ids=FLAT)
def test_line_breaks_that_a_container_could_not_hold_are_read(text, tmp_path):
    path = tmp_path / "a.gif"
    Image.new("RGB", (8, 8)).save(path, comment=text.encode())
    assert_read(path)


@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_files_are_read_in_every_character_set(charset, tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(TEXT.encode(charset))
    assert_read(path)
    assert read_request(path).notes == ()
    path.write_bytes(RECIPE.encode(charset))
    assert read_request(path).values == GenerationRequest.from_json(RECIPE).model_dump(mode="json")


def test_a_text_file_that_is_not_unicode_is_read_and_told(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes("a füchse\nSteps: 20, Sampler: Euler a, Seed: 1234, Size: 512x384".encode("latin-1"))
    restored = read_request(path)
    assert (restored.values["prompt"], restored.values["seed"]) == ("a füchse", 1234)
    assert restored.notes[0].startswith("The text is in no character set of Unicode")


@pytest.mark.parametrize("name", ["comfyui-videohelpersuite", "comfyui-ui", "animatediff-cli"])
@pytest.mark.parametrize("kind", ["png", "gif", "webp", "json"])
def test_a_graph_in_a_file_is_named(kind, name, tmp_path):
    path = tmp_path / f"a.{kind}"
    if kind == "png":
        png(path, (b"tEXt", b"Software\0x"), (b"tEXt", b"workflow\0" + FOREIGN[name].encode()))
    elif kind == "gif":
        Image.new("RGB", (8, 8)).save(path, comment=FOREIGN[name].encode())
    elif kind == "webp":
        Image.new("RGB", (8, 8)).save(path, exif=exif(b"UNICODE\0" + FOREIGN[name].encode("utf-16-be")))
    else:
        path.write_text(FOREIGN[name])
    with pytest.raises(UserError, match=f"got {CALLED[name]}"):
        read_request(path)


@pytest.mark.parametrize(
    "document",
    [
        {"app_id": "invoke-ai/InvokeAI", "image": {"prompt": [{"prompt": "a", "weight": 1}], "steps": 50}},
        {"Prompt": "a", "steps": 30, "software": "RuinedFooocus"},
        {},
    ],
)
def test_settings_of_an_unknown_version_are_not_half_read(document):
    with pytest.raises(UserError, match=r"^file must carry a recipe of this app or an infotext, got "):
        restore(json.dumps(document))


def test_a_size_that_is_no_multiple_of_8_becomes_one_and_is_told():
    restored = restore("x\nSteps: 20, Sampler: DDIM, Seed: 5, Size: 1000x563")
    assert (restored.values["width"], restored.values["height"]) == (1000, 560)
    assert restored.notes == ("Size: 1000x563 is no multiple of 8; it becomes 1000x560.",)
