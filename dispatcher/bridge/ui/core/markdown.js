// Markdown that a model wrote, as DOM nodes that can do no harm. It knows nothing of chats.
import DOMPurify from "../vendor/dompurify-3.4.18.min.mjs";
import { Marked } from "../vendor/marked-18.2.1.mjs";
import { markup } from "./html.js";

/** HTML in an answer is text that happens to look like HTML: shown, never run. A picture's address could carry the conversation away. */
function plain({ text, href }) {
  return this.text({ text: text || href });
}

const marked = new Marked({
  breaks: true,
  renderer: {
    html: plain,
    image: plain,
    // Below the page's own headings, and in their order, whatever the model made of it.
    heading({ tokens }) {
      return `<h3>${this.parser.parseInline(tokens)}</h3>`;
    },
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

// The second line of defence: whatever the first lets through, only these tags and attributes survive.
const ALLOWED = {
  ALLOWED_TAGS: "a blockquote br code del em h3 hr li ol p pre strong table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["href", "start", "align"],
  // It names a block's language; any other class could borrow the page's own looks.
  ADD_ATTR: (name, tag) => name === "class" && tag === "code",
  ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
  TRUSTED_TYPES_POLICY: markup,
};

function render(text) {
  const fragment = DOMPurify.sanitize(marked.parse(text), ALLOWED);
  for (const link of fragment.querySelectorAll("a")) Object.assign(link, { rel: "noreferrer", target: "_blank" });
  // What may be wide stands in a frame, and the keyboard reaches what scrolls.
  for (const wide of fragment.querySelectorAll("table, pre")) {
    const frame = document.createElement("div");
    wide.replaceWith(frame);
    frame.append(wide);
    frame.className = `framed ${wide.localName}`;
    let [scrolls, label] = [frame, "Table"];
    if (wide.localName === "pre") {
      const language = wide.firstChild.className.slice(9);
      frame.dataset.language = language;
      frame.append(Object.assign(document.createElement("button"), { className: "copy", textContent: "Copy" }));
      [scrolls, label] = [wide, `Code ${language}`];
    }
    Object.assign(scrolls, { tabIndex: 0, role: "group", ariaLabel: label });
  }
  return fragment;
}

/**
 * Gives how to draw a text that grows: blocks that are complete stay as they are, only the open one is made anew. A link that is
 * defined below its use shows when the text is `whole`.
 */
export function growing(node) {
  let settled = 0;
  let open = [];
  return (text, whole) => {
    if (whole && /^ {0,3}\[[^\]\n]+\]:/m.test(text)) {
      node.replaceChildren(render(text));
      return;
    }
    const rest = text.replaceAll("\r", "").slice(settled);
    const blocks = marked.lexer(rest);
    const last = blocks.findLastIndex(({ type }) => type !== "space");
    const done = blocks.slice(0, last).map(({ raw }) => raw).join("");
    if (!done && extended(open, blocks[last])) return;
    for (const old of open) old.remove();
    if (done) node.append(render(done));
    settled += done.length;
    const made = render(rest.slice(done.length));
    open = [...made.childNodes];
    node.append(made);
  };
}

/** Write on in an open block of code, which may be the longest of all; false where the open block is another. */
function extended([frame], block) {
  const code = block?.type === "code" && frame?.querySelector?.("pre > code")?.firstChild;
  // But for the end of its last line.
  const written = code?.data?.slice(0, -1);
  if (!written || !block.text.startsWith(written)) return false;
  code.replaceData(written.length, 1, `${block.text.slice(written.length)}\n`);
  return true;
}
