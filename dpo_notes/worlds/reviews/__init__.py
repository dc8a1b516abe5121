"""Film reviews and questions about cities: the grammar, its parser, and the raters' reward."""
