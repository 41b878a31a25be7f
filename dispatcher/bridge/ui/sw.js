// Keeps one page, which says that no bridge answers, and what that page is made of. Everything else comes from the bridge each
// time, so that no view ever shows yesterday's fleet.
const NAME = `drover-${new URL(location.href).searchParams.get("edition")}`;
const PAGE = "/offline";

self.addEventListener("install", (event) => event.waitUntil(keep().then(() => self.skipWaiting())));
self.addEventListener("activate", (event) => event.waitUntil(forget().then(() => self.clients.claim())));
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.mode === "navigate") event.respondWith(fetch(request).catch(() => caches.match(PAGE)));
  else if (request.destination === "style" || request.destination === "script") {
    event.respondWith(fetch(request).catch(async () => (await caches.match(request)) ?? Response.error()));
  }
});

async function keep() {
  const cache = await caches.open(NAME);
  await cache.add(PAGE);
  const page = await (await cache.match(PAGE)).text();
  await cache.addAll([...page.matchAll(/(?:href|src)="(\/ui\/[^"]+)"/g)].map(([, address]) => address));
}

async function forget() {
  const old = (await caches.keys()).filter((name) => name.startsWith("drover-") && name !== NAME);
  await Promise.all(old.map((name) => caches.delete(name)));
}
