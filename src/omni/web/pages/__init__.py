"""The dashboard's pages: for each a view model, which is pure, and a handler that asks desk and log for it."""
