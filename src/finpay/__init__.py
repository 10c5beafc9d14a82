"""FinPay: a payment API that you can run alone and trust with money.

docs/ARCHITECTURE.md walks through it in ten minutes. The SDK is `finpay.client`.
"""
