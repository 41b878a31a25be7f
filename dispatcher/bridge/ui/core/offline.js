// Looks whether the bridge is back, and shows what was asked for when it is.
async function look() {
  const answer = await fetch("/health", { cache: "no-store" }).catch(() => null);
  if (answer) location.replace(location.pathname === "/offline" ? "/" : location.href);
  else setTimeout(look, document.hidden ? 30000 : 3000);
}

setTimeout(look, 3000);
