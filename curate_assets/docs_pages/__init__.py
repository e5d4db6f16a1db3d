"""The pages of the documentation that are made from the code: `python -m curate_assets.docs_pages [--check]`."""
