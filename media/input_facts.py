"""Properties of an input, and cuts that choose its frames."""

from dataclasses import dataclass
from fractions import Fraction

from media.input_files import InputKind
from media.named_faults import about
from media.video_listing import VideoListing
from pipelines.plan.errors import InvalidRequestError
from pipelines.plan.faults import Fault
from pipelines.plan.image_fit import ImageFit
from pipelines.plan.request_fields.clip import MAX_NUM_FRAMES


@dataclass(frozen=True, slots=True)
class Cut:
    """Choice of an input's frames, and of their size.

    Args:
        start: Frames to leave out at the beginning.
        every: 1 for every frame, 2 for every second, …
        max_frames: At most so many of those; a shorter input gives fewer.
        width, height: Size to make them, pixels; None to leave them as they are.
        fit: How, if they have another shape.
        grey: Whether only brightness counts, as in masks: red, green and blue become the same.
    """

    start: int = 0
    every: int = 1
    max_frames: int = MAX_NUM_FRAMES
    width: int | None = None
    height: int | None = None
    fit: ImageFit = ImageFit.CROP
    grey: bool = False


WHOLE = Cut()


@dataclass(frozen=True, slots=True)
class InputFacts:
    """Properties of an input, read before its frames.

    Args:
        kind: Picture, video or zip; an animated picture is a picture with more than one frame.
        width, height: As seen, pixels.
        fps: Frames per second, exact; None if unknown.
        num_frames: Frames there are at that rate. A damaged file may turn out to have fewer.
        even: Whether those are the frames of the file; if not, they are taken by time.
        has_audio: Whether there is sound.
        listing: Where the frames of a video are.
    """

    kind: InputKind
    width: int
    height: int
    fps: Fraction | None
    num_frames: int
    even: bool
    has_audio: bool
    listing: VideoListing | None = None

    @property
    def duration_s(self) -> Fraction | None:
        """Seconds, exact; None where there is no rate."""
        return self.num_frames / self.fps if self.fps else None

    def places(self, cut: Cut) -> range:
        """List the places of the frames that a cut takes.

        Raises:
            InvalidRequestError: There are none.
        """
        if cut.start >= self.num_frames:
            raise InvalidRequestError(
                Fault(
                    code="source.starts_behind_end",
                    field="source_start",
                    rule="be below the length of the clip ({limit:,} frames)",
                    got=cut.start,
                    fix="Lower {source_start:label}",
                    limit=self.num_frames,
                    seen="{got:,}",
                )
            )
        return range(cut.start, self.num_frames, cut.every)[: cut.max_frames]

    def fps_of(self, cut: Cut) -> Fraction | None:
        """Compute the rate at which a cut keeps its duration."""
        return self.fps / cut.every if self.fps else None


def cut_beside(source: InputFacts, cut: Cut, beside: InputFacts, *, num_frames: int, field: str) -> Cut:
    """Choose the cut of a clip that follows a source framewise.

    One of the whole source's length is cut as the source is. One that has a frame for each that is left of the
    source, or for each of the clip that is made, was cut before and serves as it is; so does a single picture.

    Args:
        source: The source clip.
        cut: How that is cut.
        beside: What goes with it.
        num_frames: Frames of the clip that is made.
        field: What the errors call what goes with it.

    Raises:
        InvalidRequestError: It has another length, or nothing is left of the source.
    """
    left = len(source.places(cut))
    if beside.num_frames == source.num_frames > 1:
        return Cut(start=cut.start, every=cut.every)
    if beside.num_frames in (1, left, num_frames):
        return WHOLE
    is_cut = left < source.num_frames
    whole = "{whole:,}, {left:,} when cut" if is_cut else "{whole:,}"
    raise InvalidRequestError(
        about(
            Fault(
                code="source.other_length_when_cut" if is_cut else "source.other_length",
                rule=f"have 1 frame, as many as the source clip ({whole}) or as many as the result ({{result:,}})",
                got=beside.num_frames,
                fix="Choose another file or set {num_frames:label} to its length",
                limit=sorted({1, source.num_frames, left, num_frames}),
                values={"whole": source.num_frames, "left": left, "result": num_frames},
                seen="{got:,}",
            ),
            field,
        )
    )
