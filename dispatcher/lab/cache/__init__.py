"""Measures the cache's likeness on labelled questions, and trains the verifier that guards it; no dispatcher imports it."""
