"""Change: between two dates, and within series of images, with the date, how sure it is, and from what to what."""
