import { useGraphiQL, useGraphiQLActions } from "@graphiql/react";
import { parse as parseJsonWithComments } from "jsonc-parser";
import { useEffect, useRef, useState } from "react";
import { credentials, haveKey, headersWith, takeKeyFromAddress } from "./credentials.js";
import { Problem } from "./fetcher.js";

const TYPING_PAUSE_MILLISECONDS = 600;

/**
 * Keeps one set of headers for all tabs, fetches the schema again when they change while
 * something is wrong, and says what is wrong.
 */
export function Access({ problem }) {
  const headerEditor = useGraphiQL((state) => state.headerEditor);
  const { introspect } = useGraphiQLActions();
  const problemNow = useRef(problem);
  problemNow.current = problem;

  useEffect(() => {
    if (!headerEditor) return undefined;
    let pause;
    function restoreHeaders() {
      headerEditor.setValue(credentials.headers);
    }
    const subscription = headerEditor.onDidChangeModelContent(({ isFlush }) => {
      const text = headerEditor.getValue();
      // A flush is GraphiQL's doing: another tab, an item of the history, a prettier layout.
      if (isFlush && !sameHeaders(text, credentials.headers)) {
        queueMicrotask(restoreHeaders);
        return;
      }
      credentials.headers = text;
      if (isFlush || !problemNow.current) return;
      clearTimeout(pause);
      pause = setTimeout(() => {
        if (haveKey(parseJsonWithComments(text))) introspect();
      }, TYPING_PAUSE_MILLISECONDS);
    });
    // A key may have come while the editor was still loading.
    if (!sameHeaders(headerEditor.getValue(), credentials.headers)) restoreHeaders();
    return () => {
      clearTimeout(pause);
      subscription.dispose();
    };
  }, [headerEditor, introspect]);

  function adopt(apiKey) {
    credentials.headers = headersWith(apiKey);
    headerEditor?.setValue(credentials.headers);
    introspect();
  }

  useEffect(() => {
    function takeKey() {
      const apiKey = takeKeyFromAddress();
      if (apiKey) adopt(apiKey);
    }
    addEventListener("hashchange", takeKey);
    return () => removeEventListener("hashchange", takeKey);
  });

  return problem && <Banner problem={problem} onKey={adopt} />;
}

function sameHeaders(one, other) {
  return (
    JSON.stringify(parseJsonWithComments(one)) === JSON.stringify(parseJsonWithComments(other))
  );
}

const EXPLANATIONS = {
  [Problem.KEY_MISSING]: (
    <>
      <strong>Paste your API key</strong> here or under Headers, as{" "}
      <code>{'{"Authorization": "Bearer ldg_test_…"}'}</code>. It stays in this page's memory.
    </>
  ),
  [Problem.KEY_REFUSED]: (
    <>
      <strong>The server did not accept this API key.</strong> It may be mistyped, revoked or of
      another server. Paste another one here or under Headers.
    </>
  ),
  [Problem.SCHEMA_UNAVAILABLE]: (
    <>
      <strong>The schema could not be loaded.</strong> Is the server still running? Try again with
      your API key.
    </>
  ),
};

function Banner({ problem, onKey }) {
  const [apiKey, setApiKey] = useState("");

  function submit(event) {
    event.preventDefault();
    if (apiKey.trim()) onKey(apiKey.trim());
  }

  return (
    <form className="graphiql-container access" role="alert" onSubmit={submit}>
      <p>{EXPLANATIONS[problem]}</p>
      <div>
        <input
          aria-label="API key"
          autoCapitalize="none"
          autoComplete="off"
          autoFocus
          onChange={(event) => setApiKey(event.target.value)}
          placeholder="ldg_test_…"
          spellCheck={false}
          type="text"
          value={apiKey}
        />
        <button type="submit">Use this key</button>
      </div>
    </form>
  );
}
