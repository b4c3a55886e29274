// What belongs to the whole page: its language, its keys, and what is called by name from Python.
"use strict";
window.promptweight ??= {};

promptweight.language = (() => {
  const STORED = "promptweight.language";

  function stored() {
    try {
      return localStorage.getItem(STORED);
    } catch {
      return null; // a browser that keeps nothing
    }
  }

  function browsers() {
    return (navigator.language || "en").toLowerCase().startsWith("pt") ? "pt-br" : "en";
  }

  // The language to begin with: the one chosen before, then what the server says, then the browser's.
  function initial() {
    const chosen = stored();
    return ["en", "pt-br"].includes(chosen) ? chosen : promptweight.servedLanguage || browsers();
  }

  let current = initial(); // at once: what is drawn before Gradio has set the switch is in it, too

  // What a person chose with the switch is remembered.
  function keep(language) {
    try {
      localStorage.setItem(STORED, language);
    } catch {
      // it is asked for again next time
    }
  }

  function use(language) {
    if (!language) return;
    current = language;
    document.documentElement.lang = language === "pt-br" ? "pt-BR" : "en";
    document.dispatchEvent(new CustomEvent("promptweight-language"));
  }

  // One text out of {language: {key: text}}, with {places} filled.
  function say(texts, key, values = {}) {
    const text = (texts[current] ?? texts.en)[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  // A number as the language writes it.
  const number = (value, digits) =>
    value.toLocaleString(current === "pt-br" ? "pt-BR" : "en-US", { maximumSignificantDigits: digits });

  return { initial, keep, use, say, number, current: () => current };
})();

// Elements are made here and their texts set as text: nothing that anyone typed is ever read as HTML.
promptweight.element = (tag, properties = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && !name.startsWith("aria")) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};

// The keys that users of other tools have in their hands: Ctrl+Enter generates, Esc stops.
document.addEventListener("keydown", (event) => {
  const press = (id) => {
    const button = document.getElementById(id);
    const element = button?.tagName === "BUTTON" ? button : button?.querySelector("button");
    if (!element || element.disabled || element.offsetParent === null) return;
    event.preventDefault();
    event.stopPropagation();
    element.click();
  };
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) press("generate-go");
  if (event.key === "Escape") press("generate-stop");
}, true);
