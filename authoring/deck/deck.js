// A slide that is too tall gets smaller text, down to SMALLEST; one that is still too tall can be scrolled.
const HEIGHT = 720, WIDTH = 1280, SMALLEST = 0.7;

function fit(slide) {
  if (!slide || slide.dataset.fitted || slide.querySelector(":scope > section")) return;
  slide.dataset.fitted = "yes";
  const inner = document.createElement("div");
  inner.append(...slide.childNodes);
  slide.append(inner);
  let zoom = 1;
  while (inner.getBoundingClientRect().height / Reveal.getScale() > HEIGHT && zoom > SMALLEST) {
    zoom -= 0.05;
    inner.style.zoom = zoom;
  }
  if (inner.getBoundingClientRect().height / Reveal.getScale() > HEIGHT) {
    slide.classList.add("tall");
    slide.tabIndex = 0;
  }
  Reveal.layout();
}

// A derivation of numbered moves comes move by move, and after them one by one what they lead to.
for (const moves of document.querySelectorAll(".slides .jp-RenderedMarkdown > ol")) {
  for (const move of moves.children) move.classList.add("fragment");
  for (let next = moves.nextElementSibling; next; next = next.nextElementSibling) next.classList.add("fragment");
}

MathJax.startup.promise.then(() =>
  Reveal.initialize({ controls: true, progress: true, hash: true, center: false, slideNumber: "{{ resources.reveal.number }}",
                      width: WIDTH, height: HEIGHT, margin: 0.04, transition: "none" })
).then(() => {
  fit(Reveal.getCurrentSlide());
  Reveal.on("slidechanged", (event) => fit(event.currentSlide));
  Reveal.on("fragmentshown", (event) => event.fragment.scrollIntoView({ block: "nearest" }));
  document.body.dataset.ready = "yes";
});
