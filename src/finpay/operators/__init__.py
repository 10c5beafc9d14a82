"""What operators and auditors read: users, accounts, transactions, the audit log, reconciliation.

Everything is read as finpay_app. What operators do is in finpay.ledger.operator_actions.
"""
