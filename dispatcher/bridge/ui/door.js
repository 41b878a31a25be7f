// Asks for a key where the bridge needs one, and trades it for a session that no script can read. It knows nothing of chats.

const SESSION = "/api/v1/session";

/** Open the dialog when whoever sits here is a stranger to the bridge; a key that is taken begins the page anew. */
export async function knock(dialog) {
  const answer = await fetch(SESSION, { cache: "no-store" }).catch(() => null);
  if (answer?.status !== 401) return;
  const form = dialog.querySelector("form");
  const field = form.querySelector("input");
  const said = form.querySelector("[role=alert]");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const refused = await login(field.value.trim());
    if (!refused) location.reload();
    said.textContent = refused;
    field.select();
  });
  dialog.addEventListener("cancel", (event) => event.preventDefault()); // behind it nothing would work
  dialog.showModal();
}

/** Exchange the key; gives why it was refused, or nothing. */
async function login(key) {
  try {
    const answer = await fetch(SESSION, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ key }),
    });
    if (answer.ok) return "";
    const told = await answer.json().catch(() => ({}));
    return told.error?.message ?? `The bridge answered ${answer.status}.`;
  } catch {
    return "The bridge can't be reached. Check that Drover still runs, then try again.";
  }
}

knock(document.getElementById("door"));
