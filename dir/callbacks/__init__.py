"""Adapters to training frameworks; each is imported only when asked for."""
