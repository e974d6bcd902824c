"use strict";
// A browser under the POSIX locale calls its language "en-US@posix", which its own Intl refuses; uPlot asks it on loading.
try {
  new Intl.NumberFormat(navigator.language);
} catch {
  Object.defineProperty(navigator, "language", { value: "en-US" });
}
