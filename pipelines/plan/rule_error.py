"""What a value must be, told before anybody knows whose value it is. No torch."""


class RuleError(ValueError):
    """A value breaks a rule; whoever knows the value's field makes a fault of it.

    Args:
        code, rule, values: As in `pipelines.plan.faults.Fault`.
    """

    def __init__(self, code: str, rule: str, **values: object) -> None:
        self.code, self.rule, self.values = code, rule, values
        super().__init__(f"must {rule.format(**values)}")
