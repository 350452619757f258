//! `DescribeDBInstances`, for doctor: RDS's description of the database behind the gate
//! (<https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBInstances.html>).

use super::form::Form;
use super::refusal::Refusal;
use super::simulation::permit;
use super::{Service, xml};
use crate::REGION;
use crate::iam::{Circumstances, Identity};

impl Service {
    pub(super) fn describe_db_instances(
        &self,
        caller: &Identity,
        form: &Form,
        at: &Circumstances<'_>,
    ) -> Result<String, Refusal> {
        form.allow_only(&["DBInstanceIdentifier", "MaxRecords"])?;
        // Whoever asks has the instances of the own account, so none of another's.
        let own = self.instance.as_ref().filter(|i| i.account == caller.principal.account);
        let account = &caller.principal.account;
        let asked = form.get("DBInstanceIdentifier");
        let resource = format!("arn:aws:rds:{REGION}:{account}:db:{}", asked.unwrap_or("*"));
        permit(caller, "rds:DescribeDBInstances", &resource, at)?;
        match (asked, own) {
            (Some(id), own) if own.is_none_or(|instance| instance.id() != id) => Err(Refusal::new(
                axum::http::StatusCode::NOT_FOUND,
                "DBInstanceNotFound",
                format!("DBInstance {id} not found."),
            )),
            (_, own) => Ok(xml::db_instances(own)),
        }
    }
}
