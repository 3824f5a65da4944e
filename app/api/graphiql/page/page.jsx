import "graphiql/setup-workers/vite";
import "@graphiql/react/style.css";
import "@graphiql/plugin-doc-explorer/style.css";
import "@graphiql/plugin-history/style.css";
import "graphiql/graphiql.css";
import "./page.css";
import { GraphiQL } from "graphiql";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { Access } from "./access.jsx";
import { credentials, headersWith, storageWithoutHeaders } from "./credentials.js";
import { createFetcher } from "./fetcher.js";

function Page({ examples }) {
  const [problem, setProblem] = useState(null);
  const [fetcher] = useState(() => createFetcher(setProblem));
  return (
    <GraphiQL
      defaultEditorToolsVisibility="headers"
      defaultHeaders={headersWith("")}
      defaultTabs={examples}
      fetcher={fetcher}
      initialHeaders={credentials.headers}
      inputValueDeprecation
      schemaDescription
      shouldPersistHeaders={false}
      storage={storageWithoutHeaders}
    >
      <GraphiQL.Logo>Ledgers</GraphiQL.Logo>
      <Access problem={problem} />
    </GraphiQL>
  );
}

const examples = await (await fetch("/graphiql/examples.json")).json();
createRoot(document.getElementById("page")).render(<Page examples={examples} />);
