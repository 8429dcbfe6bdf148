"""Broken rule of a value whose field isn't known yet."""


class RuleError(ValueError):
    """A broken rule, made a fault once the field is known.

    Args:
        code, rule, values: As in `pipelines.plan.faults.Fault`.
    """

    def __init__(self, code: str, rule: str, **values: object) -> None:
        self.code, self.rule, self.values = code, rule, values
        super().__init__(f"must {rule.format(**values)}")
