// Node's fetch, with a body of known length and with a stream, which is sent in chunks.
const [url, email, password, newEmail, key] = process.argv.slice(2);

async function post(path, body, headers = {}, more = {}) {
  const response = await fetch(`${url}/api/v1${path}`, {
    method: "POST",
    headers: { "Content-Type": "application/json", ...headers },
    body: typeof body === "object" && !(body instanceof ReadableStream) ? JSON.stringify(body) : body,
    ...more,
  });
  return { status: response.status, text: await response.text() };
}

const registered = JSON.parse((await post("/auth/register", { email: newEmail, password })).text);
const session = JSON.parse((await post("/auth/login", { email, password })).text);
const headers = { Authorization: `Bearer ${session.access_token}`, "X-Idempotency-Key": key };
const order = { receiver_id: registered.account.id, amount: 5, description: "Größe" };
const sent = await post("/transactions", order, headers);

const text = new TextEncoder().encode(JSON.stringify(order));
const stream = new ReadableStream({
  start(controller) {
    for (const byte of text) controller.enqueue(Uint8Array.of(byte));
    controller.close();
  },
});
const again = await post("/transactions", stream, headers, { duplex: "half" });
const account = await (await fetch(`${url}/api/v1/accounts`, { headers })).json();
console.log(sent.status, JSON.parse(sent.text).id, again.status, JSON.parse(again.text).id, account.balance);
