// Preact and htm as every view takes them: `html` makes nodes from a template, without a build, and text is never markup.
import { h, render } from "../vendor/preact-10.29.8.mjs";
import htm from "../vendor/htm-3.1.1.mjs";

export { Component } from "../vendor/preact-10.29.8.mjs";
export { useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-hooks-10.29.8.mjs";

export const html = htm.bind(h);

/** Show a component in an element of the page; gives how to take it away. */
export function show(node, into) {
  render(node, into);
  return () => render(null, into);
}

// The only makers of HTML and of workers' addresses. The Content Security Policy names this policy and no other.
const policy = globalThis.trustedTypes?.createPolicy("drover", {
  // DOMPurify parses with it what it then takes apart; nothing else may.
  createHTML: (text) => text,
  createScriptURL(address) {
    const url = new URL(address, location.href);
    if (url.origin !== location.origin) throw new TypeError(`not a file of this page: ${url.origin}`);
    return url.href;
  },
});

/** The policy, as DOMPurify takes it; undefined in browsers without trusted types. */
export const markup = policy;

/** The address of one of the page's own scripts, as workers take it. */
export const script = (address) => policy?.createScriptURL(address) ?? address;
