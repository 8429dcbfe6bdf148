"""What other programs call our fields: the page is made from what reads their files."""

from pathlib import Path

from api.recipes.comfy_names import WIDGETS
from api.recipes.webui_args import ARGUMENT_FIELDS, fields_of_args
from api.recipes.webui_names import ARGUMENT_LABELS
from pipelines.plan.request import GenerationRequest
from scripts.names_table import label_of, names_page

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_as_the_code_has_it():
    assert (DOCS / "names.md").read_text() == names_page(), "run make docs"
    for page in (DOCS / "guide.md", DOCS.parent / "README.md"):
        assert "names.md" in page.read_text(), page


def test_every_name_of_ours_is_a_field():
    assert set(ARGUMENT_FIELDS.values()) <= set(GenerationRequest.model_fields)
    assert ARGUMENT_FIELDS.keys() == ARGUMENT_LABELS.keys()
    assert all(label_of(widget.field) for widget in WIDGETS)
    assert len(set(WIDGETS)) == len(WIDGETS)


def test_what_is_read_of_arguments_is_what_the_page_says():
    arguments = {"fps": 12, "batch_size": 20, "stride": 2, "overlap": 5, "video_length": 40, "closed_loop": "A"}
    fields, _ = fields_of_args(arguments)
    assert set(fields) >= {ARGUMENT_FIELDS[key] for key in arguments}
