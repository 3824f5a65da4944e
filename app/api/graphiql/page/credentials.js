// The request headers, API key included, live here and in the header editor: in memory alone.

export function headersWith(apiKey) {
  return JSON.stringify({ Authorization: `Bearer ${apiKey}` }, null, 2);
}

/** Whether there is a key to send, be it the right one or not. */
export function haveKey(headers) {
  return Object.entries(headers ?? {}).some(
    ([name, value]) => name.toLowerCase() === "authorization" && !/^(bearer)?\s*$/i.test(value),
  );
}

/** Reads `#key=…` and removes it from the address bar; a fragment is never sent to a server. */
export function takeKeyFromAddress() {
  const key = new URLSearchParams(location.hash.slice(1)).get("key")?.trim();
  if (key) history.replaceState(history.state, "", location.pathname + location.search);
  return key;
}

/** The text of the headers in force; all tabs share it. */
export const credentials = { headers: headersWith(takeKeyFromAddress() ?? "") };

const HOLDERS_OF_HEADERS = ["graphiql:tabState", "graphiql:queries", "graphiql:favorites"];

/**
 * GraphiQL's history keeps each query's headers, whatever `shouldPersistHeaders` says:
 * none may get to the disk.
 */
export const storageWithoutHeaders = {
  getItem: (name) => localStorage.getItem(name),
  removeItem: (name) => localStorage.removeItem(name),
  setItem(name, value) {
    const holdsHeaders = HOLDERS_OF_HEADERS.includes(name);
    localStorage.setItem(name, holdsHeaders ? withoutHeaders(value) : value);
  },
  get length() {
    return namesInStorage().length;
  },
  clear() {
    for (const name of namesInStorage()) localStorage.removeItem(name);
  },
};

function withoutHeaders(text) {
  return JSON.stringify(JSON.parse(text), (name, value) => (name === "headers" ? null : value));
}

function namesInStorage() {
  return Object.keys(localStorage).filter((name) => name.startsWith("graphiql:"));
}
