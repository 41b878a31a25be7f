// Markdown that a model wrote, as DOM nodes that can do no harm. It knows nothing of chats.
import DOMPurify from "/ui/vendor/dompurify-3.4.18.min.mjs";
import { Marked } from "/ui/vendor/marked-18.2.1.mjs";

const escape = (text) => text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    // HTML in an answer is text that happens to look like HTML: shown, never run.
    html: ({ text }) => escape(text),
    // A picture's address could carry the conversation away: its description stays, the picture does not.
    image: ({ text, href }) => escape(text || href),
  },
});

// The second line of defence: whatever the first lets through, only these tags and attributes survive.
const ALLOWED = {
  ALLOWED_TAGS: [
    "a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre",
    "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
  ],
  ALLOWED_ATTR: ["href", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.tagName === "A") {
    node.setAttribute("rel", "noopener noreferrer nofollow");
    node.setAttribute("target", "_blank");
  }
  // Classes name a code block's language; any other could borrow the page's own looks.
  if (node.hasAttribute("class") && !/^language-[\w+#.-]+$/.test(node.className)) node.removeAttribute("class");
});

/** Render a whole text. */
export function render(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const table of fragment.querySelectorAll("table")) {
    const frame = document.createElement("div");
    frame.className = "wide";
    frame.tabIndex = 0;
    frame.setAttribute("role", "group");
    frame.setAttribute("aria-label", "Table");
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const block of fragment.querySelectorAll("pre")) {
    block.tabIndex = 0;
    block.setAttribute("role", "group");
    block.setAttribute("aria-label", "Code");
  }
  return fragment;
}

/**
 * Renders a text that grows: blocks that are complete stay as they are, only the open one is made anew, once per frame.
 * (A link reference that is defined below its use shows when the text is complete and rendered as a whole.)
 */
export class Growing {
  #node;
  #settled = 0;
  #open = [];
  #frame = 0;
  text = "";

  constructor(node) {
    this.#node = node;
  }

  add(text, drawn) {
    this.text += text;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
      drawn();
    });
  }

  finish() {
    cancelAnimationFrame(this.#frame);
    this.#node.replaceChildren(render(this.text));
  }

  #draw() {
    const blocks = marked.lexer(this.text.slice(this.#settled));
    const last = blocks.findLastIndex((block) => block.type !== "space");
    const done = blocks.slice(0, Math.max(last, 0)).map((block) => block.raw).join("");
    for (const node of this.#open) node.remove();
    if (done) this.#node.append(render(done));
    this.#settled += done.length;
    const open = render(this.text.slice(this.#settled));
    this.#open = [...open.childNodes];
    this.#node.append(open);
  }
}
