"""Composition: the processes of FinPay and the parts that each is built from."""
