"""`finpay doctor`: is this environment fit to look after money?

It asks the settings, PostgreSQL and Redis the questions that an incident would ask later, and
gives an advice with each finding. It changes nothing but one key in Redis that lives a second.
"""

from finpay.doctor.checks import CheckResult, State
from finpay.doctor.examination import run_checks

__all__ = ["CheckResult", "State", "run_checks"]
