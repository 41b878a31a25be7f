// One chat over HTTP: the request, and its server-sent events as an async sequence. It knows nothing of the page.

/** An answer that failed, in words for people. */
export class ChatError extends Error {
  constructor(message, { code = "", retryAfter = null } = {}) {
    super(message);
    this.code = code;
    this.retryAfter = retryAfter;
  }
}

/**
 * Ask, and give what comes: {kind: "standing", ...} while there is no text, {kind: "text", text}, and last
 * {kind: "end", finish, account}. Aborting `signal` closes the connection, which cancels the job on its device. `anew` wants
 * no answer that was given before.
 */
export async function* chat({ model, messages, anew = false, signal }) {
  const response = await post({ model, messages, stream: true }, anew ? { "cache-control": "no-cache" } : {}, signal);
  for await (const data of events(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw failure(chunk.error);
    const choice = chunk.choices?.[0];
    if (choice?.delta?.content) yield { kind: "text", text: choice.delta.content };
    else if (choice?.finish_reason) yield { kind: "end", finish: choice.finish_reason, account: chunk.x_drover ?? {} };
    else if (chunk.x_drover) yield { kind: "standing", ...chunk.x_drover };
  }
  throw new ChatError("The connection ended before the answer did. Send the question again.");
}

async function post(body, headers, signal) {
  let response;
  try {
    response = await fetch("/v1/chat/completions", {
      method: "POST",
      // The second header asks for every step at once instead of holding back until the first word; the third goes before those
      // that nobody watches.
      headers: { "content-type": "application/json", "x-drover-progress": "1", "x-drover-priority": "interactive", ...headers },
      body: JSON.stringify(body),
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ChatError("The bridge can't be reached. Check that Drover still runs, then try again.");
  }
  if (response.ok) return response;
  const refusal = await response.json().catch(() => ({}));
  throw failure(refusal.error ?? { message: `The bridge answered ${response.status}.` });
}

const failure = ({ message, code, retry_after_s: retryAfter }) => new ChatError(message, { code, retryAfter });

/** The data of each event; an event may come in several pieces, and a piece may hold several. */
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const whole = (waiting + value).split("\n\n");
      waiting = whole.pop();
      for (const event of whole) {
        if (event.startsWith("data: ")) yield event.slice(6);
      }
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ChatError("The connection broke before the answer was complete. Try again.");
  } finally {
    reader.cancel().catch(() => {});
  }
}
