"""The page in a real browser; `make browser-test` runs these, `make test` does not."""
