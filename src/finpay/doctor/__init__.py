"""`finpay doctor`: is this environment fit to look after money?

It asks the settings, PostgreSQL and Redis the questions that an incident would ask later, and
gives an advice with each finding. It changes nothing but one key in Redis that lives a second.
"""

from finpay.doctor.checks import Finding, State
from finpay.doctor.examination import examine

__all__ = ["Finding", "State", "examine"]
