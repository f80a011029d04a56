//! An event as it is written and read. The bytes of a marker have no id of their own, since millions of them may stay: it
//! follows from the rest.

use serde::ser::SerializeStruct as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Event, Fact};
use crate::{JobId, Tenant};

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let id = if self.is_marker() { "" } else { &self.id };
        let mut fields = serializer.serialize_struct("Event", 7)?;
        fields.serialize_field("schema_version", &self.schema_version)?;
        fields.serialize_field("id", id)?;
        fields.serialize_field("time_ms", &self.time_ms)?;
        fields.serialize_field("tenant", &self.tenant)?;
        fields.serialize_field("job", &self.job)?;
        fields.serialize_field("attempt", &self.attempt)?;
        fields.serialize_field("fact", &self.fact)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Event")]
        struct Fields {
            schema_version: u16,
            id: String,
            time_ms: i64,
            tenant: Tenant,
            job: JobId,
            attempt: u32,
            fact: Fact,
        }
        let Fields { schema_version, id, time_ms, tenant, job, attempt, fact } =
            Fields::deserialize(deserializer)?;
        let mut event = Self { schema_version, id, time_ms, tenant, job, attempt, fact };
        if event.id.is_empty() && event.is_marker() {
            event.id = Self::id_of(job, attempt, event.fact.kind());
        }
        Ok(event)
    }
}
