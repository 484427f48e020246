"""The model file `model.keras`: put together, opened with care, tried in a process of its own."""
