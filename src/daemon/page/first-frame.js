/**
 * The first lines of the script: the page as it came, with the sentence in it, is painted before the scripts
 * are run, which takes a slow tablet longer than the painting. A page that nobody sees has no frames.
 */
if (!document.hidden) {
  await new Promise((resolve) => {
    requestAnimationFrame(() => setTimeout(resolve));
    // Hidden before it was painted.
    document.addEventListener("visibilitychange", resolve, { once: true });
  });
}
