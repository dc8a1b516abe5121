// Moves every explorer of a page between pictures that were drawn beforehand, one for each combination of its controls.
"use strict";

function live(figure) {
    const sentences = JSON.parse(figure.querySelector("script").textContent);
    const controls = [...figure.querySelectorAll("[data-count]")];
    const picture = figure.querySelector("img");
    const status = figure.querySelector("[role=status]");
    const address = number => `${figure.dataset.pictures}/${number}.webp`;
    let loaded = null; // kept, so that a picture is at hand when a key is pressed

    const load = () => {
        loaded ??= sentences.map((_, number) => Object.assign(new Image(), {src: address(number)}));
    };
    const place = control => {
        if (control.type === "checkbox") return Number(control.checked);
        return control.tagName === "SELECT" ? control.selectedIndex : Number(control.value);
    };
    const show = () => {
        let number = 0; // the last control moves fastest
        for (const control of controls) {
            number = number * Number(control.dataset.count) + place(control);
            if (control.type === "range") {
                const word = JSON.parse(control.dataset.words)[place(control)];
                control.setAttribute("aria-valuetext", word);
                control.nextElementSibling.textContent = word;
            }
        }
        if (picture.getAttribute("src") !== address(number)) picture.src = address(number);
        picture.alt = status.textContent = sentences[number];
    };

    picture.decoding = "sync"; // the old picture stays until the new one can be painted: nothing flickers
    figure.addEventListener("input", show);
    figure.addEventListener("focusin", load);
    new IntersectionObserver((entries, observer) => {
        if (entries.some(entry => entry.isIntersecting)) {
            observer.disconnect();
            load();
        }
    }, {rootMargin: "50%"}).observe(figure);
    figure.classList.add("live");
}

document.addEventListener("DOMContentLoaded", () => document.querySelectorAll("figure.explorer").forEach(live));
