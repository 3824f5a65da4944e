import { parse as parseJsonWithComments } from "jsonc-parser";
import { credentials, haveKey } from "./credentials.js";

const ENDPOINT = "/graphql";
const UNAUTHORIZED = 401;

/** Why the API can't be used right now. */
export const Problem = Object.freeze({
  KEY_MISSING: "KEY_MISSING",
  KEY_REFUSED: "KEY_REFUSED",
  SCHEMA_UNAVAILABLE: "SCHEMA_UNAVAILABLE",
});

/** GraphiQL's fetcher; `report` hears of each problem, and of null when the schema is there. */
export function createFetcher(report) {
  return (parameters, { headers } = {}) =>
    parameters.operationName === "IntrospectionQuery"
      ? introspect(parameters, report)
      : execute(parameters, headers, report);
}

async function introspect(parameters, report) {
  // GraphiQL asks first before its header editor is there, so this takes the headers in force.
  const headers = parseJsonWithComments(credentials.headers);
  if (!haveKey(headers)) {
    report(Problem.KEY_MISSING);
    throw new Error("The schema can be fetched once there is an API key.");
  }
  try {
    const { status, result } = await post(parameters, headers);
    if (status === UNAUTHORIZED) report(Problem.KEY_REFUSED);
    else report(result.data ? null : Problem.SCHEMA_UNAVAILABLE);
    return result;
  } catch (error) {
    report(Problem.SCHEMA_UNAVAILABLE);
    throw error;
  }
}

async function execute(parameters, headers, report) {
  const { status, result } = await post(parameters, headers);
  if (status === UNAUTHORIZED) {
    report(haveKey(headers) ? Problem.KEY_REFUSED : Problem.KEY_MISSING);
  }
  return result;
}

async function post(parameters, headers) {
  const response = await fetch(ENDPOINT, {
    method: "POST",
    headers: {
      Accept: "application/graphql-response+json, application/json;q=0.9",
      "Content-Type": "application/json",
      ...headers,
    },
    body: JSON.stringify(parameters),
  });
  const text = await response.text();
  try {
    return { status: response.status, result: JSON.parse(text) };
  } catch {
    throw new Error(`HTTP ${response.status}: ${text.slice(0, 500)}`);
  }
}
