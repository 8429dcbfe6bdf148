"""What the sticker world's training stages hand to one another."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL

from scripts.train_demo.captions import OPEN
from scripts.train_demo.trainer import Budget, Trainer
from scripts.train_demo.world import CLIP_FRAMES
from scripts.train_stickers.artwork import Artwork
from scripts.train_stickers.checkpoints import pack, unpack
from scripts.train_stickers.corpus import Corpus
from scripts.train_stickers.latents import reversed_scene
from scripts.train_stickers.text import NEW_WORDS, first_captions, load_shipped, moved, words_of
from scripts.train_stickers.train import STAGES, command_of
from scripts.train_stickers.vae import build_vae
from scripts.train_stickers.widen import widen
from scripts.train_stickers.world import MOTIONS, Scene, render

SHIPPED = Path(__file__).resolve().parents[2] / "assets/demo"


def test_the_wide_autoencoder_begins_near_where_the_narrow_one_ended():
    torch.manual_seed(0)
    narrow, wide = AutoencoderKL.from_pretrained(SHIPPED / "vae").float().eval(), build_vae().eval()
    untrained = build_vae().eval()
    widen(narrow.state_dict(), wide, groups=2)
    scene = Scene("star", "red", "blue", "large", "static")
    picture = torch.from_numpy(render(scene, Artwork({}), frames=[0])).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        ends, starts, random = (
            vae.decode(vae.encode(picture).latent_dist.mode()).sample for vae in (narrow, wide, untrained)
        )
    assert (starts - ends).pow(2).mean() < 0.1 * (random - ends).pow(2).mean()
    assert (starts - ends).pow(2).mean() < 0.05


def test_a_packed_checkpoint_holds_the_average_and_training_goes_on_from_it(tmp_path: Path):
    network = torch.nn.Linear(4, 4)
    plan = Budget(tmp_path / "a.pt", 1.0, 4, 1e-2, 0, "cpu", 1, False, steps=10, precision="float32")
    task = Trainer(network, plan, 0, warm_up=4)
    task.step = 7
    task.save()
    pack(tmp_path / "a.pt", tmp_path / "a.safetensors")
    unpack(tmp_path / "a.safetensors", tmp_path / "b.pt")
    plan = Budget(tmp_path / "b.pt", 1.0, 4, 1e-2, 0, "cpu", 1, True, steps=10, precision="float32")
    resumed = Trainer(torch.nn.Linear(4, 4), plan, 0, warm_up=4)
    assert resumed.step == 7
    assert torch.allclose(resumed.model.weight, task.ema.weight, atol=1e-3)
    assert torch.equal(resumed.model.weight, resumed.ema.weight)
    next(resumed._steps())
    assert resumed.optimizer.param_groups[0]["lr"] < 1e-2 / 4, "without the optimizer's memory it warms up anew"


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_clip_played_backwards_is_the_reversed_scene(motion: str):
    scene = Scene("star", "red", "night", "large", motion)
    backwards = reversed_scene(scene)
    if motion == "rotating":
        assert backwards is None
    elif motion in ("bouncing", "shaking"):
        assert backwards.motion == motion
    else:
        assert np.array_equal(render(scene, Artwork({}))[::-1], render(backwards, Artwork({})))


def test_what_looks_where_it_goes_is_not_played_backwards():
    assert reversed_scene(Scene("car", "", "blue", "large", "left")) is None
    assert reversed_scene(Scene("star", "red", "blue", "large", "static", camera="zoom in")) is None


def test_a_corpus_gives_latents_and_what_is_said_of_them(tmp_path: Path):
    scenes = [Scene("star", "red", "white", "large", motion) for motion in ("left", "growing", "static", "rotating")]
    latents = np.arange(len(scenes), dtype=np.float16)[:, None, None, None, None] * 100
    latents = latents + np.arange(CLIP_FRAMES, dtype=np.float16)[None, :, None, None, None]
    np.save(tmp_path / "000.npy", np.broadcast_to(latents, (4, CLIP_FRAMES, 4, 2, 2)))
    (tmp_path / "000.json").write_text(json.dumps([asdict(scene) for scene in scenes]))
    corpus = Corpus(tmp_path, load_shipped(SHIPPED))
    frames = torch.tensor([2, 5])
    x, states, labels = corpus.batch(np.random.default_rng(0), 40, frames)
    assert x.shape == (40, 4, 2, 2, 2)
    assert states.shape == (40, 77, 128)
    ways = {(int(first) // 100, int(last - first)) for first, last in x[:, 0, :, 0, 0]}
    assert ways >= {(0, 3), (0, -3), (3, 3)}, "forwards, and backwards where the world has it so"
    assert (3, -3) not in ways
    for (first, last), (motion, camera) in zip(x[:, 0, :, 0, 0].tolist(), labels.tolist(), strict=True):
        scene = scenes[int(first) // 100]
        shown_scene = scene if last > first else reversed_scene(scene)
        assert motion in (OPEN, MOTIONS.index(shown_scene.motion))
        assert camera in (OPEN, 0)


def test_captions_of_the_first_world_hold_no_new_word_and_start_unmoved():
    texts = first_captions(np.random.default_rng(0), 20)
    assert not any(words_of(text.lower()) & NEW_WORDS for text in texts)
    assert {"cat", "meadow", "bouncing"} <= NEW_WORDS
    assert not {"red", "circle", "left", "background", "spinning"} & NEW_WORDS
    tokenizer, encoder = load_shipped(SHIPPED)
    ids = tokenizer(texts[:4], padding="max_length", max_length=77, return_tensors="pt").input_ids
    assert float(moved(encoder, encoder, ids)) == 0


def test_a_stage_goes_on_where_it_stopped_and_else_begins_where_the_last_one_ended(tmp_path: Path):
    stages = {stage.name: stage for stage in STAGES}
    wide = command_of(stages["stills wide"], tmp_path)
    assert wide == [sys.executable, "-u", "-m", "scripts.train_stickers.diffusion", "wide", "--warm-start",
                    str(tmp_path / "narrow.pt")]  # fmt: skip
    (tmp_path / "wide.pt").touch()
    assert command_of(stages["stills wide"], tmp_path)[-1] == "--resume"
    assert command_of(stages["latents wide"], tmp_path)[-3:] == ["wide", "--shards", "8"]
    written = [stage.checkpoint for stage in STAGES]
    for place, stage in enumerate(STAGES):
        assert stage.begins_with in ("", "vae_wide.pt", *written[:place])
