"""The inputs of a request, opened: what goes with what, how it is told, and what is left when it is cancelled."""

from fractions import Fraction

import numpy as np
import psutil
import pytest
from PIL import Image

from media.input_facts import WHOLE, Cut, InputFacts, cut_beside
from media.input_files import InputKind
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.events import Stage
from pipelines.plan.image_fit import ImageFit, fitted
from pipelines.plan.request import GenerationRequest
from studio.engine import build_request
from studio.request_inputs import open_inputs, preview_control
from studio.stored_inputs import keep
from tests.unit.clips import greys, levels_of, png, video, zipped

SOURCE_FRAMES = 12


@pytest.fixture
def kept(tmp_path):
    """Keeps a zip of grey pictures of these levels, or whatever file is given."""

    def keep_levels(*levels: int) -> str:
        members = {f"{number}.png": png(level) for number, level in enumerate(levels)}
        return keep([zipped(tmp_path / "levels.zip", members)], field="file")

    return keep_levels


def request_for(**settings) -> GenerationRequest:
    return GenerationRequest.build(**{"seed": 0, "width": 64, "height": 64} | settings)


def finished(work):
    events = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


def facts(num_frames: int) -> InputFacts:
    return InputFacts(InputKind.ZIP, 48, 32, Fraction(8), num_frames, even=True, has_audio=False)


@pytest.mark.parametrize(
    ("frames", "expected"),
    [(1, WHOLE), (24, Cut(start=4, every=2)), (10, WHOLE), (6, WHOLE)],
    ids=["one for all", "as the source", "as the cut source", "as the result"],
)
def test_what_goes_with_a_source_is_cut_to_stay_beside_it(frames, expected):
    found = cut_beside(facts(24), Cut(start=4, every=2), facts(frames), num_frames=6, field="mask")
    assert found == expected


@pytest.mark.parametrize("frames", [2, 5, 7, 23, 25])
def test_a_mask_of_another_length_is_refused_in_words(frames):
    with pytest.raises(InvalidRequestError) as refused:
        cut_beside(facts(24), Cut(start=4, every=2), facts(frames), num_frames=6, field="mask")
    assert str(refused.value) == (
        "mask must have 1 frame, as many as the source clip (24, 10 when cut) or as many as the result (6), "
        f"got {frames}. Choose another file or set 'Frames' to its length."
    )


def test_any_number_of_masks_goes_with_a_single_picture_if_the_result_has_it():
    assert cut_beside(facts(1), WHOLE, facts(6), num_frames=6, field="mask") == WHOLE
    with pytest.raises(InvalidRequestError, match=r"as the source clip \(1\) or as many as the result \(6\), got 5\."):
        cut_beside(facts(1), WHOLE, facts(5), num_frames=6, field="mask")


@pytest.mark.parametrize(
    ("masks", "expected"), [(range(100, 112), [102, 105, 108]), ((7, 8, 9), [7, 8, 9]), ((5,), [5])]
)
def test_a_mask_keeps_to_the_frames_of_its_source(kept, masks, expected):
    source, mask = kept(*range(SOURCE_FRAMES)), kept(*masks)
    request = request_for(source_video=source, mask=mask, num_frames=3, source_start=2, source_every=3)
    _, opened = finished(open_inputs(request))
    assert levels_of(opened.source.frames(range(3))) == [2, 5, 8]
    assert levels_of(opened.mask.frames(range(opened.mask.num_frames))) == expected


def test_a_mask_of_another_length_is_refused_before_anything_is_decoded(kept):
    request = request_for(source_video=kept(*range(SOURCE_FRAMES)), mask=kept(1, 2), num_frames=3)
    work = open_inputs(request)
    assert next(work).note == "Reading pictures and clips"
    with pytest.raises(InvalidRequestError, match=r"^mask must have 1 frame, .*, got 2\."):
        next(work)


@pytest.mark.parametrize("fit", ImageFit)
def test_a_mask_of_another_size_is_fitted_as_the_source_is(kept, tmp_path, fit):
    shape = np.zeros((48, 96, 3), np.uint8)
    shape[:, 32:] = 255
    Image.fromarray(shape).save(tmp_path / "mask.png")
    mask = keep([tmp_path / "mask.png"], field="mask")
    _, opened = finished(open_inputs(request_for(source_video=kept(1), mask=mask, num_frames=2, image_fit=fit)))
    assert (opened.mask.frames([0])[0] == fitted(shape, width=64, height=64, fit=fit)).all()


def test_decoding_tells_how_far_it_is(tmp_path):
    source = keep([video(tmp_path / "clip.mp4", greys(range(20, 60)))], field="source_video")
    events, opened = finished(open_inputs(request_for(source_video=source, num_frames=20)))
    assert opened.source.num_frames == 20
    assert {event.stage for event in events} == {Stage.PREPROCESS}
    assert [(event.step, event.total, event.note) for event in events] == [
        (0, 1, "Reading pictures and clips"),
        (8, 20, "Reading the source clip, frame 8 of 20"),
        (16, 20, "Reading the source clip, frame 16 of 20"),
    ]


@pytest.mark.parametrize("own", [False, True], ids=["source", "own clip"])
def test_a_clip_that_is_being_decoded_can_be_cancelled(tmp_path, own):
    path = video(tmp_path / "clip.mp4", greys(list(range(20, 220)) * 10, width=256, height=256))
    sha256 = keep([path], field="source_video")
    unit = {"model": "x", "preprocessor": "invert"} | ({"clip": sha256} if own else {})
    request = request_for(num_frames=2_000, controls=[unit], **({} if own else {"source_video": sha256}))
    before = psutil.Process().children()
    work = preview_control(request)
    assert (next(work).step, len(psutil.Process().children())) == (8, len(before) + 1)
    work.close()
    assert psutil.Process().children() == before


def test_no_frames_means_the_source_s_length_or_a_control_clip_s_or_the_window_s(kept):
    source, mask, control, picture = kept(*range(12)), kept(*range(9)), kept(*range(7)), kept(1)
    unit = {"model": "demo-canny", "clip": control}
    cases = [
        ({"source_video": source}, 12),
        ({"source_video": source, "source_start": "2", "source_every": 2}, 5),
        ({"source_video": source, "mask": mask}, 9),
        ({"source_video": source, "controls": [unit]}, 7),
        ({"source_video": source, "controls": [unit | {"key_frames": [0, 5]}]}, 12),
        ({"controls": [unit]}, 7),
        ({"first_frame": picture}, 16),
        ({"source_video": picture}, 16),
        ({}, 16),
        ({"context_length": 8, "context_overlap": 2}, 8),
    ]
    for zero in (0, "0", 0.0, " 0 "):
        for fields, frames in cases:
            assert build_request(seed=0, base_model="demo", num_frames=zero, **fields).num_frames == frames, fields
    assert build_request(seed=0, base_model="demo", controls=[unit]).num_frames == 16  # nothing was said


@pytest.mark.parametrize("fields", [{"source_start": "x"}, {"source_every": -1}, {"source_start": [1]}])
def test_a_cut_that_is_none_is_refused_by_its_name_where_the_length_is_open(kept, fields):
    (name,) = fields
    with pytest.raises(InvalidRequestError, match=f"^{name} must be "):
        build_request(seed=0, base_model="demo", num_frames=0, source_video=kept(1, 2), **fields)
    with pytest.raises(InvalidRequestError, match=r"^controls 1 must have known fields, got x\."):
        build_request(seed=0, base_model="demo", num_frames=0, controls=["x"])
