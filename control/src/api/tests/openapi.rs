//! The document against the router and against real answers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::{Api, endpoint, network};
use crate::api::routes::{OPENAPI, table};
use crate::api::types::EndpointRequest;

/// An export of nothing.
const EMPTY: &str = r#"{"format":"weft-store","version":1,"entries":[]}"#;

fn document() -> Value {
    serde_json::from_str(OPENAPI).expect("the document is JSON")
}

/// What `"$ref": "#/..."` refers to, or the value itself.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    match value.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            document.pointer(&reference[1..]).unwrap_or_else(|| panic!("{reference} leads nowhere"))
        }
        None => value,
    }
}

/// Where `value` breaks `schema`: the part of JSON Schema that the document uses, any other keyword is a failure.
fn breaks(document: &Value, schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let schema = resolve(document, schema);
    let mut broken = Vec::new();
    let mut demand = |holds: bool, law: &str| {
        if !holds {
            broken.push(format!("{at}: {value} against {law}"));
        }
    };
    for (keyword, law) in schema.as_object().expect("a schema is an object") {
        let text = value.as_str();
        match keyword.as_str() {
            "type" => {
                let allowed = law.as_array().cloned().unwrap_or_else(|| vec![law.clone()]);
                let kind = match value {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(_) => "integer",
                    Value::String(_) => "string",
                    Value::Array(_) => "array",
                    Value::Object(_) => "object",
                };
                demand(allowed.contains(&json!(kind)), keyword);
            }
            "enum" => demand(law.as_array().expect("a list").contains(value), keyword),
            "minimum" => demand(value.as_i64().is_none_or(|number| Some(number) >= law.as_i64()), keyword),
            "maximum" => demand(value.as_i64().is_none_or(|number| Some(number) <= law.as_i64()), keyword),
            "maxLength" => demand(text.is_none_or(|text| Some(text.len() as u64) <= law.as_u64()), keyword),
            "required" => {
                let keys = law.as_array().expect("a list").iter().map(|key| key.as_str().expect("a key"));
                keys.for_each(|key| demand(value.get(key).is_some(), key));
            }
            "additionalProperties" if law == false => {
                let known = schema["properties"].as_object().expect("they are listed");
                for key in value.as_object().into_iter().flat_map(|object| object.keys()) {
                    demand(known.contains_key(key), key);
                }
            }
            // Followed below, or words for people.
            "properties"
            | "items"
            | "additionalProperties"
            | "description"
            | "default"
            | "pattern"
            | "format" => {}
            unknown => demand(false, unknown),
        }
    }
    let children = match value {
        Value::Array(items) => items.iter().map(|item| (Some(&schema["items"]), item, "[]")).collect(),
        Value::Object(object) => object
            .iter()
            .map(|(key, item)| {
                let other = Some(&schema["additionalProperties"]).filter(|other| other.is_object());
                (schema["properties"].get(key).or(other), item, key.as_str())
            })
            .collect(),
        _ => vec![],
    };
    for (schema, item, key) in children {
        if let Some(schema) = schema.filter(|schema| schema.is_object()) {
            broken.extend(breaks(document, schema, item, &format!("{at}.{key}")));
        }
    }
    broken
}

/// The schema of what `method path` answers with `status`.
fn answer_schema<'d>(document: &'d Value, method: &str, path: &str, status: &str) -> &'d Value {
    let response = resolve(document, &document["paths"][path][method]["responses"][status]);
    &response["content"]["application/json"]["schema"]
}

/// Status, the `Allow` header and the body of an answer.
async fn exchange(api: &Api, method: &str, path: &str, body: &str) -> (String, BTreeSet<String>, Value) {
    let mut stream = UnixStream::connect(api.socket()).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ");
    stream.write_all(format!("{head}{}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let allow = head.lines().find_map(|line| line.strip_prefix("allow: ")).unwrap_or_default();
    let methods = allow.split(',').filter(|method| !matches!(*method, "" | "HEAD"));
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, methods.map(str::to_lowercase).collect(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn the_document_has_the_routers_paths_and_methods_and_no_other() {
    let (api, document) = (Api::start(), document());
    let described = document["paths"].as_object().unwrap();
    let routed: BTreeSet<&str> = table().into_iter().map(|(path, _)| path).collect();
    assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), routed);
    for path in routed {
        let (status, allowed, _) = exchange(&api, "PROPFIND", path, "").await;
        assert_eq!(status, "405", "{path}");
        let methods: BTreeSet<String> = described[path].as_object().unwrap().keys().cloned().collect();
        assert_eq!(methods, allowed, "{path}");
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_operation_is_whole() {
    fn walk(document: &Value, value: &Value) {
        resolve(document, value);
        match value {
            Value::Object(object) => object.values().for_each(|value| walk(document, value)),
            Value::Array(items) => items.iter().for_each(|value| walk(document, value)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
    assert_eq!(document["openapi"], "3.1.1");
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    let limit = format!("more than {} bytes", crate::api::BODY_MAX);
    assert!(document["info"]["description"].as_str().unwrap().contains(&limit));
    let mut ids = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let keys: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        for (method, operation) in methods.as_object().unwrap() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{method} {path}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path} tells no refusal");
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let resolved = parameters.iter().map(|parameter| resolve(&document, parameter));
            let in_path = resolved.filter(|parameter| parameter["in"] == "path");
            let named: BTreeSet<&str> =
                in_path.map(|parameter| parameter["name"].as_str().unwrap()).collect();
            assert_eq!(named, keys, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn requests_and_answers_are_what_the_document_says() {
    let (api, document) = (Api::start(), document());
    let blue = serde_json::to_value(network("blue")).unwrap();
    let publish = vec!["8080:80".parse().unwrap(), "[::1]::53/udp".parse().unwrap()];
    let asked = EndpointRequest { publish: publish[..1].to_vec(), ..endpoint("e") };
    let joined = serde_json::to_value(EndpointRequest { publish, ..endpoint("e") }).unwrap();
    let schemas = &document["components"]["schemas"];
    assert_eq!(breaks(&document, &schemas["NetworkRequest"], &blue, "request"), [""; 0]);
    assert_eq!(breaks(&document, &schemas["EndpointRequest"], &joined, "request"), [""; 0]);
    let (blue, joined) = (blue.to_string(), serde_json::to_string(&asked).unwrap());
    let steps = [
        ("post", "/v1/networks", "/v1/networks", blue.as_str(), "201"),
        ("post", "/v1/networks", "/v1/networks", r#"{"name":"red"}"#, "201"),
        ("post", "/v1/networks", "/v1/networks", r#"{"name":"red"}"#, "409"),
        ("post", "/v1/networks", "/v1/networks", "nonsense", "400"),
        ("post", "/v1/networks/{key}/endpoints", "/v1/networks/blue/endpoints", joined.as_str(), "201"),
        ("get", "/v1/openapi.json", "/v1/openapi.json", "", "200"),
        ("get", "/v1/status", "/v1/status", "", "200"),
        ("get", "/v1/nodes", "/v1/nodes", "", "200"),
        ("get", "/v1/doctor", "/v1/doctor", "", "200"),
        ("get", "/v1/stats", "/v1/stats", "", "200"),
        ("get", "/v1/networks", "/v1/networks", "", "200"),
        ("get", "/v1/networks/{key}", "/v1/networks/blue", "", "200"),
        ("get", "/v1/networks/{key}", "/v1/networks/green", "", "404"),
        ("get", "/v1/endpoints", "/v1/endpoints", "", "200"),
        ("get", "/v1/endpoints/{key}", "/v1/endpoints/e", "", "200"),
        ("get", "/v1/ports", "/v1/ports", "", "200"),
        ("get", "/v1/nat", "/v1/nat?network=blue&endpoint=e&protocol=tcp", "", "200"),
        ("get", "/v1/nat", "/v1/nat?endpoint=f", "", "404"),
        ("get", "/v1/fdb", "/v1/fdb?network=blue", "", "200"),
        ("get", "/v1/capture", "/v1/capture?count=many", "", "400"),
        ("get", "/v1/store", "/v1/store", "", "200"),
        ("put", "/v1/store", "/v1/store", EMPTY, "409"),
        ("post", "/v1/prune", "/v1/prune", "", "200"),
        ("delete", "/v1/networks/{key}/endpoints/{endpoint}", "/v1/networks/blue/endpoints/e", "", "200"),
        ("delete", "/v1/networks/{key}", "/v1/networks/blue", "", "200"),
        ("put", "/v1/store", "/v1/store", "{}", "400"),
        ("put", "/v1/store", "/v1/store", EMPTY, "200"),
    ];
    for (method, path, concrete, body, expected) in steps {
        let (status, _, answer) = exchange(&api, &method.to_uppercase(), concrete, body).await;
        assert_eq!(status, expected, "{method} {concrete}: {answer}");
        let told = if expected.starts_with('2') { expected } else { "default" };
        let schema = answer_schema(&document, method, path, told);
        assert_eq!(breaks(&document, schema, &answer, concrete), [""; 0]);
    }
    let undone: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|path| !steps.iter().any(|(_, described, ..)| described == path))
        .collect();
    assert!(undone.is_empty(), "never asked: {undone:?}");
}

#[test]
fn the_checker_sees_what_is_wrong() {
    let document = document();
    let node = json!({"$ref": "#/components/schemas/Node"});
    let good = json!({"name": "a", "vtep": null, "state": "ready"});
    assert_eq!(breaks(&document, &node, &good, "node"), [""; 0]);
    for bad in [
        json!({"name": "a", "state": "ready"}),
        json!({"name": "a", "vtep": 7, "state": "ready"}),
        json!({"name": "a", "vtep": null, "state": "asleep"}),
        json!({"name": "a", "vtep": null, "state": "ready", "extra": 1}),
        json!([]),
    ] {
        assert!(!breaks(&document, &node, &bad, "node").is_empty(), "{bad}");
    }
}
