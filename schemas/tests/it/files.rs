//! Names of files in workflows: the job's own in every form, the server's where the catalog says so, no other.

use std::collections::{BTreeMap, BTreeSet};

use schemas::catalog::Model;
use schemas::workflow::files::{Files, InputUse, server_inputs, upload_name, use_by_table};
use schemas::workflow::nodes::FileUse;
use schemas::{Body, Catalog, samples};
use serde_json::{Value, json};

const OWN: &str = "argosy/job.1/0-photo.png";

fn rewrite(class: &str, input: &str, value: &Value) -> Result<Value, String> {
    let mut graph = json!({"1": {"class_type": class, "inputs": {input: value}}});
    let files = Files {
        own: BTreeMap::from([("photo.png", OWN.to_owned())]),
        server: &|name| name == "logo.png",
        uses: &|class, input| match (class, input) {
            ("MyWords", _) => InputUse::Words,
            ("MyLoader", "path") => InputUse::File(FileUse::Path),
            _ => use_by_table(class, input),
        },
        uploads: Some("argosy"),
    };
    files.rewrite(&mut graph).map_err(|error| error.to_string())?;
    Ok(graph["1"]["inputs"][input].clone())
}

#[test]
fn every_form_of_an_own_name_becomes_the_upload() {
    let forms = [
        "photo.png",
        "photo.png [input]",
        "photo.png[input]",
        "pasted/photo.png",
        "pasted\\photo.png",
        "clipspace/photo.png [input]",
        "./photo.png",
        "a/b//photo.png",
        "photo.png ",
    ];
    for form in forms {
        for (class, input) in [
            ("LoadImage", "image"),
            ("LoadImageMask", "image"),
            ("LoadAudio", "audio"),
            ("LoadVideo", "file"),
        ] {
            assert_eq!(rewrite(class, input, &json!(form)), Ok(json!(OWN)), "{class} {form}");
        }
    }
    let nested =
        json!({"image": "photo.png", "mask": "photo.png [input]", "recording": "", "camera_info": null});
    let expected = json!({"image": OWN, "mask": OWN, "recording": "", "camera_info": null});
    assert_eq!(rewrite("Load3D", "image", &nested), Ok(expected));
    let list = json!({"__value__": ["photo.png", "pasted/photo.png"]});
    assert_eq!(rewrite("LoadImageSetNode", "images", &list), Ok(json!({"__value__": [OWN, OWN]})));
    assert_eq!(
        rewrite("LoadImage", "image", &json!({"__value__": "photo.png"})),
        Ok(json!({"__value__": OWN}))
    );
    // A node that nobody knows: only the forms that are ComfyUI's own.
    for (form, becomes) in [
        ("photo.png", OWN),
        ("photo.png [input]", OWN),
        ("pasted/photo.png", OWN),
        ("a picture like best/photo.png", "a picture like best/photo.png"),
        ("see photo.png", "see photo.png"),
    ] {
        assert_eq!(rewrite("Somebody's", "picture", &json!(form)), Ok(json!(becomes)), "{form}");
        assert_eq!(
            rewrite("Somebody's", "stack", &json!([[form], {"a": form}])),
            Ok(json!([[becomes], {"a": becomes}]))
        );
    }
    assert_eq!(rewrite("CLIPTextEncode", "text", &json!("photo.png")), Ok(json!("photo.png")), "words stay");
    assert_eq!(
        rewrite("MyWords", "any", &json!("argosy/other.1/0-x.png")),
        Ok(json!("argosy/other.1/0-x.png"))
    );
}

#[test]
fn a_file_that_the_job_did_not_bring_is_refused_with_its_cure() {
    let cases = [
        (json!("other.png"), "bring it in body.inputs under this name"),
        (json!("Photo.png"), "among the job's files (photo.png)"),
        (json!("other.png [input]"), "body.inputs"),
        (json!("pasted/other.png"), "body.inputs"),
        (json!("clipspace\\other.png [input]"), "body.inputs"),
        (json!("photo.png [output]"), "bucket and key of its artifact"),
        (json!("photo.png[temp]"), "bucket and key of its artifact"),
        (json!("x/photo.png [output]"), "bucket and key of its artifact"),
        (json!("../photo.png"), "body.inputs"),
        (json!("/etc/photo.png"), "body.inputs"),
        (json!("C:\\photos\\photo.png"), "body.inputs"),
        (json!("http://127.0.0.1/photo.png"), "body.inputs"),
        (json!("photo.png [input] [input]"), "body.inputs"),
        (json!("argosy/other.1/0-photo.jpg"), "body.inputs"),
        (json!("[input]"), "body.inputs"),
        (json!(["other.png"]), "body.inputs"),
        (json!({"__value__": ["photo.png", "other.png"]}), "`other.png`"),
        (json!({"__value__": {"deep": ["other.png"]}}), "`other.png`"),
        (json!(["7", 0]), "write the file's name into the input itself"),
    ];
    for (value, words) in cases {
        let error = rewrite("LoadImage", "image", &value).expect_err(&value.to_string());
        assert!(
            error.starts_with("node 1 (LoadImage), input `image`: ") && error.contains(words),
            "{value}: {error}"
        );
    }
    for (class, input) in
        [("VHS_LoadVideoPath", "video"), ("LoadImageSetFromFolderNode", "folder"), ("MyLoader", "path")]
    {
        for value in ["photo.png", "argosy/other.1", "input/photo.png", "logo.jpg"] {
            let error = rewrite(class, input, &json!(value)).expect_err(value);
            assert!(error.contains("a node that takes uploads"), "{class} {value}: {error}");
        }
        assert_eq!(rewrite(class, input, &json!("logo.png")), Ok(json!("logo.png")), "the server's");
    }
    // The folder of all uploads, in an input of which nothing is known.
    for value in [
        "argosy/other.1/0-x.png",
        "argosy\\other.1\\0-x.png [input]",
        "./argosy/other.1",
        "3d/argosy/other.1/0-x.glb",
    ] {
        assert!(rewrite("Somebody's", "picture", &json!(value)).is_err(), "{value}");
    }
}

#[test]
fn the_server_s_files_are_named_by_the_catalog_or_by_a_template() {
    for value in ["logo.png", "logo.png [input]", "None", ""] {
        assert_eq!(rewrite("LoadImage", "image", &json!(value)), Ok(json!(value)));
    }
    let model = Model {
        needs: schemas::catalog::Needs::default(),
        model: "m".to_owned(),
        class: samples::decision().class,
        files: vec![],
        width: 512,
        height: 512,
        steps: 20,
        duration_ms: 0,
        template: json!({"1": {"class_type": "LoadImage", "inputs": {"image": "pose.png"}}}),
    };
    let server = BTreeSet::from(["logo.png".to_owned()]);
    let catalog = Catalog { models: vec![model], server_inputs: server.clone(), ..Catalog::default() };
    let prompt = Body { prompt: Some("a fox".to_owned()), model: Some("m".to_owned()), ..Body::default() };
    let both: BTreeSet<_> = ["logo.png".to_owned(), "pose.png".to_owned()].into();
    assert_eq!(server_inputs(&prompt, &catalog), both);
    let own = Body { workflow: Some(json!({})), ..prompt };
    assert_eq!(server_inputs(&own, &catalog), server, "a job's workflow has no part in the template's files");
    assert!(!serde_json::to_string(&Catalog::default()).expect("plain data").contains("server_inputs"));
}

#[test]
fn no_two_uploads_of_an_attempt_are_one_file_anywhere() {
    let names = [
        "photo.png",
        "PHOTO.PNG",
        "fóto.png",
        "fo\u{301}to.png",
        "x [output]",
        "y.png [temp]",
        "no-ending",
        "a.b.webp",
    ];
    let uploads: Vec<_> = names.iter().enumerate().map(|(index, name)| upload_name(index, name)).collect();
    assert_eq!(uploads[0], "0-photo.png");
    assert_eq!(uploads[4], "4-x__output_");
    assert_eq!(uploads[7], "7-a_b.webp");
    let folded: BTreeSet<_> = uploads.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), names.len());
    for name in uploads
        .iter()
        .chain([&upload_name(9, &"x".repeat(255)), &upload_name(9, &format!("a.{}", "y".repeat(250)))])
    {
        assert!(name.len() <= 128 && name.is_ascii() && !name.contains(['/', '\\', '[', ']']), "{name}");
    }
}
