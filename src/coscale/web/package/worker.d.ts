/** Restores images for the page that started it; it has no names of its own. Import it where a worker has to be of one's own origin. */
export {};
