"""Every choice has its name in the dialect of sd-webui-animatediff."""

from api.recipes.webui_names import CLOSED_LOOPS
from pipelines.plan.choices import ClosedLoop


def test_the_letters_of_the_closed_loop_name_each_kind_once():
    assert list(CLOSED_LOOPS) == ["N", "R-P", "R+P", "A"]
    assert list(CLOSED_LOOPS.values()) == list(ClosedLoop)
