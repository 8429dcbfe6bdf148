"""The catalog and the museum say the same of what is published: files, lengths, sha256, families, positions, norms."""

import pytest

from pipelines.plan import catalog
from pipelines.plan.catalog_entries import Entry
from pipelines.plan.motion_families import SpatialNorm
from tests.museum.motion import MOTION_FILES, diffusers_names
from tests.museum.repositories import repositories

ENTRIES: list[Entry] = [
    entry
    for entries in (
        catalog.base_models(), catalog.motion_modules(), catalog.loras(), catalog.vaes(), catalog.controlnets(),
        catalog.ip_adapters(), catalog.upscalers(), (catalog.film(),),
    )
    for entry in entries
    if entry.source == "hub"
]  # fmt: skip
#: Repositories of which no public source was found that lists their files; the names are the catalog's alone.
UNRECORDED = {
    "emilianJR/epiCRealism",
    "SG161222/Realistic_Vision_V5.1_noVAE",
    "frankjoshua/toonyou_beta6",
    "Lykon/AnyLoRA",
    "digiplay/majicMIX_realistic_v7",
    "guoyww/animatediff-motion-adapter-v1-5-2",
    "guoyww/animatediff-motion-adapter-v1-5-3",
    "guoyww/animatediff-motion-adapter-sdxl-beta",
    "madebyollin/taesdxl",
    "nguu/film-pytorch",
    *(entry.repo for entry in catalog.controlnets() if entry.source == "hub" and not entry.file),
}


def test_every_file_of_the_catalog_is_one_that_a_public_source_shows():
    for entry in ENTRIES:
        if entry.repo not in UNRECORDED:
            assert entry.repo in repositories(), entry.id
            assert entry.file is None or entry.file in repositories()[entry.repo], entry.id


def test_what_is_unrecorded_is_named_and_nothing_else():
    assert {entry.repo for entry in ENTRIES} >= UNRECORDED
    assert not UNRECORDED & repositories().keys()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.id)
def test_lengths_and_digests_are_those_of_the_museum(entry):
    published = repositories().get(entry.repo, {})
    for file in entry.files:
        assert (file.bytes, file.sha256) == (published[file.name].bytes, published[file.name].sha256)
    if entry.file and (known_file := published.get(entry.file)) and (known_file.bytes or known_file.sha256):
        assert [file.name for file in entry.files] == [entry.file]
        assert known_file.bytes is None or abs(known_file.bytes / 1e6 - entry.size_mb) <= 0.5


MODULES = [entry for entry in catalog.motion_modules() if entry.source == "hub"]


@pytest.mark.parametrize("entry", MODULES, ids=lambda entry: entry.id)
def test_motion_modules_are_of_the_family_that_their_tensors_tell(entry):
    twins = {"v1-5-2": "mm_sd_v15_v2.ckpt", "v1-5-3": "v3_sd15_mm.ckpt", "sdxl-beta": "mm_sdxl_v10_beta.ckpt"}
    name = entry.file or next(file for end, file in twins.items() if entry.repo.endswith(end))
    file, family = MOTION_FILES[name], entry.known_family
    assert (family.id, family.max_positions) == (file.family, file.positions)
    assert family.spatial_norm is (SpatialNorm.WINDOW if file.window_norms else SpatialNorm.PER_FRAME)
    assert (family.base.value == "sdxl") is file.is_xl is (entry.family == "sdxl")
    assert not entry.file or entry.repo == file.repo
    listed = file.listed if entry.file else diffusers_names(file.listed)
    assert abs(listed.data_bytes / 1e6 - entry.size_mb) < 1


def test_every_published_module_is_in_the_catalog_or_is_known_not_to_be():
    left_out = {"hsxl_temporal_layers.safetensors", "mm_sd_v15_v2.fp16.safetensors"}  # in another number type
    left_out |= {name for name in MOTION_FILES if name.endswith("_comfyui.safetensors")}  # under other names
    assert {entry.file for entry in MODULES if entry.file} == MOTION_FILES.keys() - left_out
