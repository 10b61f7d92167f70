"""Clear sky: what stood under clouds, from other dates and from radar, with an error bar for every pixel."""
