"""The case as one HTML page that opens anywhere: `page` puts it together, every other module draws one of its parts."""
