"""Rules of one's own: what they are called, that they are the preset's but for what is said, and what is refused."""

from pathlib import Path

import pytest

from benchmark.cell import costs
from benchmark.commands.rules import Precision, rules_of
from benchmark.ground.errors import BadInput
from benchmark.ground.protocol import PROTOCOLS
from benchmark.ground.rules import get_protocol
from benchmark.launchers.site import Site
from benchmark.records.identity import Cell
from benchmark.records.schema import describe_cell
from tests.benchmark.test_grid import cell


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("quick", "quick"),
        ("quick[]", "quick"),
        ("quick[steps=400]", "quick"),
        ("quick[learning_rate=1e-1, unet_widths=[8, 16, 32, 64]]", "quick"),
        ("quick[image_size=96,steps=1600]", "quick[steps=1600,image_size=96]"),
        ("paper[image_size=256,swin.window=8]", "paper[image_size=256,swin.window=8]"),
        ("quick[precision='bfloat16']", "quick[precision=bfloat16]"),
        ("smoke[unet_dropout=[0,.1,2e-1]]", "smoke[unet_dropout=[0.0,0.1,0.2]]"),
    ],
)
def test_the_name_holds_what_differs_in_the_order_of_the_rules(text: str, name: str) -> None:
    protocol = get_protocol(text)
    assert protocol.name == protocol.title == name
    assert get_protocol(name) == protocol
    if name in PROTOCOLS:
        assert protocol is PROTOCOLS[name]


def test_all_else_is_the_preset_s() -> None:
    base, mine = get_protocol("quick").rules(), get_protocol("quick[steps=1600,swin.heads=[3,4]]").rules()
    assert mine["steps"] == 1600 and mine["swin"]["heads"] == [3, 4]
    assert {key for key in base if base[key] != mine[key]} == {"name", "steps", "swin"}


def test_a_file_is_called_by_its_name_and_says_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "base: paper\nsteps: 8000\nbatch_labelled: 4  # fewer\nswin: {depths: [2, 2, 6, 2]}\nprecision: 'bfloat16'\n"
    )
    mine = get_protocol(str(file))
    words = "paper[steps=8000,batch_labelled=4,swin.depths=[2,2,6,2],precision=bfloat16]"
    assert (mine.name, mine.base, mine.title) == ("mine", "paper", f"mine = {words}")
    assert mine.rules() | {"name": words} == get_protocol(words).rules()
    file.write_text("base: paper\n")
    assert get_protocol(str(file)).title == "mine = paper"


BAD = [
    ("qick[steps=3]", ["'qick'", "did you mean 'quick'", "paper-bf16"]),
    ("quick[stps=3]", ["no rule 'stps'", "did you mean 'steps'", "swin.window"]),
    ("quick[name=x]", ["no rule 'name'"]),
    ("quick[swin=3]", ["no rule 'swin'", "swin.embed"]),
    ("quick[steps=abc]", ["quick[steps=abc]", "integer", "steps=400"]),
    ("quick[steps=3.5]", ["steps=3.5", "integer"]),
    ("quick[steps='1600']", ["steps='1600'", "integer"]),
    ("quick[steps=1_600]", ["steps=1_600", "integer"]),
    ("quick[steps=true]", ["steps=true", "integer"]),
    ("quick[steps=0]", ["steps=0", "greater than or equal to 1"]),
    ("quick[batch_unlabelled=-2]", ["batch_unlabelled=-2"]),
    ("quick[learning_rate=0]", ["learning_rate=0", "greater than 0"]),
    ("quick[momentum=1]", ["momentum=1", "less than 1"]),
    ("quick[precision=half]", ["'float32' or 'bfloat16'"]),
    ("quick[unet_widths=[8,x,32,64]]", ["unet_widths=[8,x,32,64]"]),
    ("quick[unet_widths=[]]", ["at least 1 item"]),
    ("quick[steps=1,steps=2]", ["steps twice"]),
    ("quick[steps]", ["'steps'", "param=value"]),
    ("quick[steps=]", ["''"]),
    ("quick[steps=[1,[2]]]", ["'[1,[2]]'"]),
    ("quick[steps=1e999]", ["'1e999'"]),
    ("quick[steps=" + "9" * 5000 + "]", ["no number that a computer holds"]),
    ("quick[steps=no]", ["steps=no"]),
    ("quick[", ["'quick['"]),
    ("quick,paper", ["'quick,paper'"]),
    ("", ["expected name"]),
    ("quick[unet_widths=[8,16,32]]", ["3 levels", "unet_dropout 4"]),
    ("quick[unet_widths=[8],unet_dropout=[0]]", ["one level"]),
    ("quick[swin.depths=[1,1,1]]", ["swin.depths has 3 levels and swin.heads 2"]),
    ("quick[swin.heads=[2,5]]", ["5 heads do not divide the 48 channels of level 2"]),
    ("quick[steps=3]", ["5 validations in 3 steps"]),
    ("quick[image_size=100]", ["image_size 100 is no multiple of 8", "96 and 104"]),
    ("quick[image_size=8]", ["less than 32", "next that fit: 32"]),
    ("paper[swin.window=8]", ["image_size 224 is less than 256", "window of 8", "next that fit: 256"]),
    ("quick[image_size=72,unet_widths=[8,8,8,8,8],unet_dropout=[0,0,0,0,0]]", ["stride 16 of the U-Net", "64 and 80"]),
    ("quick[batch_labelled=100000000]", ["100000008 images", "GB or more, and this machine has"]),
    ("quick[unet_widths=[8,16,32,1000000]]", ["smaller batches, images or networks"]),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_what_cannot_be_is_one_sentence(text: str, words: list[str]) -> None:
    with pytest.raises(BadInput) as error:
        get_protocol(text)
    said = str(error.value)
    assert said.startswith("--protocol") and all(word in said for word in words) and "\n" not in said, said


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.yaml", "steps: 8000", ["has no base", "paper"]),
        ("mine.yaml", "base: papr", ["'papr'", "did you mean 'paper'"]),
        ("mine.yaml", "base: paper\nstepss: 8", ["no rule 'stepss'"]),
        ("mine.yaml", "base: paper\nsteps: yes", ["steps=yes", "integer"]),
        ("mine.yaml", "base: paper\nsteps: '8000'", ["steps='8000'", "integer"]),
        ("mine.yaml", "base: paper\nsteps:", ["steps", "''"]),
        ("mine.yaml", "base: paper\nsteps: 8\nsteps: 9", ["steps twice"]),
        ("mine.yaml", "base: paper\nswin: {window: 8}", ["image_size 224 is less than 256"]),
        ("mine.yaml", "base: paper\nswin: {window: {a: 1}}", ["values within values"]),
        ("mine.yaml", "base: paper\nunet_widths: [[8], [16]]", ["values within values"]),
        ("mine.yaml", "base: &a paper\nsteps: *a", ["alias"]),
        ("mine.yaml", "? [a]\n: 3", ["no name"]),
        ("mine.yaml", "base: [", ["no YAML"]),
        ("mine.yaml", "[" * 5000, ["no YAML"]),
        ("mine.yaml", b"\xff\xfe\x00", ["no YAML"]),
        ("mine.yaml", "- paper", ["holds a list"]),
        ("mine.yaml", "", ["holds nothing"]),
        ("my rules.yaml", "base: paper", ["'my rules' cannot be one"]),
        ("quick.yaml", "base: paper", ["'quick' is a preset's"]),
        ("missing.yaml", None, ["cannot be read"]),
    ],
)
def test_a_file_that_cannot_be_is_one_sentence(name: str, text: str | bytes | None, words: list[str], tmp_path: Path) -> None:
    file = tmp_path / name
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadInput) as error:
        get_protocol(str(file))
    said = str(error.value)
    assert all(word in said for word in [*words, name]) and "\n" not in said, said


@pytest.mark.parametrize("name", PROTOCOLS)
def test_presets_keep_what_is_asked_of_others(name: str) -> None:
    batch = PROTOCOLS[name].batch_labelled
    assert get_protocol(f"{name}[batch_labelled={batch + 1}]").base == name


def test_words_for_people_are_no_part_of_a_cell_s_identity() -> None:
    quick = get_protocol("quick")
    other = quick.model_copy(update={"summary": "other words"})
    one, two = cell(protocol=quick), cell(protocol=other)
    assert one.id == two.id and describe_cell(one) == describe_cell(two)
    assert cell(protocol=get_protocol("quick[steps=401]")).id != one.id


def test_a_protocol_comes_back_from_a_cell_s_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: smoke\nsteps: 6")
    planned = cell(protocol=get_protocol(str(tmp_path / "mine.yaml")))
    back = Cell.model_validate_json(planned.model_dump_json())
    assert back == planned and back.id == planned.id
    assert describe_cell(back)["protocol_title"] == "mine = smoke[steps=6]"


def test_a_precision_is_a_rule_by_whatever_option_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = get_protocol("smoke[precision=bfloat16]")
    assert rules_of("smoke", Precision.bfloat16, Site) == named and rules_of("smoke", Precision.float32, Site) == get_protocol(
        "smoke"
    )
    assert rules_of("smoke[steps=6]", Precision.bfloat16, Site) == get_protocol("smoke[steps=6,precision=bfloat16]")
    (tmp_path / "mine.yaml").write_text("base: smoke\nsteps: 6")
    mine = rules_of(str(tmp_path / "mine.yaml"), Precision.bfloat16, Site)
    assert mine.precision == "bfloat16" and mine.title == "mine-bfloat16 = smoke[steps=6,precision=bfloat16]"
    for share, chosen in ((0.7, named), (0.95, get_protocol("smoke"))):
        monkeypatch.setattr(costs, "half_precision_share", lambda protocol, device, share=share: share)
        assert rules_of("smoke", Precision.auto, Site) == chosen
        assert rules_of("smoke[precision=bfloat16]", Precision.auto, Site) == chosen
    with pytest.raises(BadInput, match="cells run on others"):
        rules_of("smoke", Precision.auto, lambda: Site(launcher="slurm"))


def test_what_half_precision_saves_is_measured() -> None:
    assert 0.1 < costs.half_precision_share(get_protocol("smoke"), "cpu") < 10
